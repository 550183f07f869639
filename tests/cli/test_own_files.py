"""From the user's own files to translations, through the command line: a run folder, predict, evaluate, export."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file
from typer.testing import CliRunner

from clew import __version__, cli
from clew.cli.predict import predict
from clew.cli.train import train
from clew.runs import Run

DICTIONARY = {"the": "le", "dog": "chien", "cat": "chat", "sees": "voit", "bird": "oiseau", "big": "grand", "and": "et"}
SMALL = [
    "model.d_model=48", "model.d_ff=64", "model.n_heads=2", "model.n_encoder_layers=1", "model.n_decoder_layers=1",
    "model.dropout=0.0", "tokenizer.vocab_size=90", "train.average=none", "train.batch.tokens=512", "train.threads=1",
    "train.device=cpu", "train.patience=none", "train.optimizer.lr=6e-3",
    "train.schedule.warmup=20", "decode.max_length=20",
]  # fmt: skip

LONGER = ["train.budget.steps=160", "train.budget.epochs=none", "train.evaluate_every=80"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clew(*arguments: str | Path, text: bytes | str | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=text)


def pairs(n: int, seed: int = 1) -> list[tuple[str, str]]:
    """Sentences translated word by word."""
    rng = random.Random(seed)
    sentences = [rng.choices(list(DICTIONARY), k=rng.randint(1, 6)) for _ in range(n)]
    return [(" ".join(words), " ".join(DICTIONARY[word] for word in words)) for words in sentences]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own files")


@pytest.fixture(scope="module")
def trained(place: Path) -> tuple[Path, Result]:
    """A run of two text files with five broken lines, and what the command said."""
    source, target = ([side.encode() for side in sides] for sides in zip(*pairs(400), strict=True))
    source[10], target[20], source[30] = b"", b"  ", b"caf\xe9"
    target[40], source[50] = b"nul\0", b"long " * 3000
    (place / "story.en").write_bytes(b"\r\n".join(source) + b"\r\n")
    (place / "story.fr").write_bytes(b"\xef\xbb\xbf" + b"\n".join(target) + b"\n")
    run = place / "runs" / "story"
    result = clew("train", place / "story.en", place / "story.fr", *SMALL, *LONGER, "--out", run)
    assert result.exit_code == 0, result.output
    return run, result


@pytest.fixture
def run(trained: tuple[Path, Result]) -> Path:
    return trained[0]


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "copy")


def test_what_training_says(trained: tuple[Path, Result]) -> None:
    """Plain lines, one for each thing said, where no terminal is: no escapes, no bar drawn over and over."""
    run, result = trained
    said = result.stderr
    assert "395 of 400" in said
    for reason in ("with empty en", "with empty fr", "not valid UTF-8", "with a NUL", "longer than 10,000 characters"):
        assert f"1 {reason}" in said
    assert "\x1b" not in said and "\r" not in said
    assert any(
        line.startswith("step 160  loss ") and "perplexity" in line and "chrf" in line for line in said.splitlines()
    )
    assert "  → " in said
    assert "transformer: " in said and "target tokens in the vocabulary" in said
    assert result.stdout.splitlines()[-2:] == [f"run: {run}", f'next: clew predict {run} "a sentence"']


def test_the_run_folder_holds_it_all(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "recipe.toml", "config.json", "model.safetensors", "tokenizer.json", "README.md", "metrics.jsonl",
        "results.json", "outputs", "checkpoints", "samples",
    }  # fmt: skip
    assert not [name for name in names if name.startswith(".") or name.endswith(".tmp")]
    config = json.loads((run / "config.json").read_text())
    weights = load_file(run / "model.safetensors")
    assert config["clew_version"] == __version__
    expected = {"kind": "translate", "source": "en", "target": "fr", "alignment": "alignment", "quality": ""}
    assert config["task"] == expected
    assert (config["model"]["kind"], config["model"]["d_model"]) == ("transformer", 48)
    size = len(Run(run).preprocessor().target)
    assert config["source_vocab_size"] == config["target_vocab_size"] == size
    assert (config["pad_id"], config["bos_id"], config["eos_id"]) == (0, 1, 2)
    assert any(tensor.shape == (size, 48) for tensor in weights.values())


def test_the_card_has_the_figures(run: Path) -> None:
    card, results = (run / "README.md").read_text(encoding="utf-8"), Run(run).results()
    assert card.startswith("# story\n")
    assert "395 of 400" in card and f"{results['parameters']:,} parameters" in card
    for name, figure in results["splits"]["valid"].items():
        if isinstance(figure, dict):
            assert f"| valid | {name} | {figure['value']:.4g} | {figure['low']:.3g} – {figure['high']:.3g} |" in card
    assert results["splits"]["valid"]["bleu"]["value"] > 50  # it has learnt the dictionary


def test_events_can_be_read(run: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(run / "events"))
    events.Reload()
    assert {"train/loss", "train/lr", "train/grad_norm", "valid/bleu", "valid/perplexity"} <= set(
        events.Tags()["scalars"]
    )
    rows = [row for row in Run(run).metrics() if "valid" in row]
    assert [event.step for event in events.Scalars("valid/bleu")] == [row["step"] for row in rows]
    assert [event.value for event in events.Scalars("valid/bleu")] == pytest.approx(
        [row["valid"]["bleu"] for row in rows]
    )


TEXTS = ["the dog sees the cat", "", "cat", "   ", "the big cat and the dog", "dog and bird", ""]


def test_one_line_out_for_each_line_in(run: Path, tmp_path: Path) -> None:
    """From standard input, from a file with and without its last line end, and compressed: the same lines."""
    joined = "\n".join(TEXTS) + "\n"
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbf" + joined.replace("\n", "\r\n").encode())
    (tmp_path / "in.gz").write_bytes(gzip.compress(joined.encode()))
    results = [clew("predict", run, "-", text=joined), clew("predict", run, text=joined)]
    results += [clew("predict", run, tmp_path / name) for name in ("in.txt", "in.gz")]
    for result in results:
        lines = result.stdout.split("\n")
        assert result.exit_code == 0 and result.stderr == ""
        assert len(lines) == len(TEXTS) + 1 and lines[-1] == ""
        assert [line == "" for line in lines[:-1]] == [text.strip() == "" for text in TEXTS]
        assert result.stdout == results[0].stdout
    assert results[0].stdout.split("\n")[0] == "le chien voit le chat"


def test_a_fresh_process_translates_the_same(run: Path) -> None:
    joined = "\n".join(TEXTS)
    done = subprocess.run(
        [sys.executable, "-m", "clew", "predict", str(run), "-"],
        input=joined, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout == clew("predict", run, "-", text=joined).stdout
    assert done.stderr == ""


def test_several_hypotheses(run: Path) -> None:
    result = clew("predict", run, "--n-best", "3", "-", text="the dog\ncat\n")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == ["1"] * 3 + ["2"] * 3
    scores = [float(row[1]) for row in rows]
    assert scores[:3] == sorted(scores[:3], reverse=True)
    assert rows[0][2] == "le chien" and rows[3][2] == "chat"


def test_json_with_scores_and_attention(run: Path) -> None:
    result = clew("predict", run, "--json", "--attention", "--n-best", "2", "-", text="the dog\n\n")
    first, empty = [json.loads(line) for line in result.stdout.splitlines()]
    assert first["text"] == first["n_best"][0]["text"] == "le chien"
    assert first["score"] == first["n_best"][0]["score"] > first["n_best"][1]["score"]
    assert first["source_tokens"][-1] == first["target_tokens"][-1] == "</s>"
    assert first["attention"]
    for weights in first["attention"].values():
        assert len(weights) == len(first["target_tokens"])
        assert all(len(row) == len(first["source_tokens"]) and abs(sum(row) - 1) < 1e-4 for row in weights)
    assert empty["text"] == "" and empty["attention"] == {}
    long_text = "the dog " * 200  # no file name is as long
    assert "attention" not in json.loads(clew("predict", run, "--json", "--beam", "1", long_text).stdout)


@pytest.mark.parametrize(("arguments", "said"), [
    (["nothing.txt"], "there is no such file"),
    (["--attention", "dog"], "add --json"),
    (["--precision", "fp8", "dog"], "should be 'fp32', 'bf16' or 'int8'"),
])  # fmt: skip
def test_a_wrong_request_to_predict(run: Path, arguments: list[str], said: str) -> None:
    result = clew("predict", run, *arguments)
    assert result.exit_code == 2 and said in result.stderr and result.stdout == ""


def test_a_line_that_is_not_utf8_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"dog\ncat\ncaf\xe9\n")
    from_file, from_stdin = clew("predict", run, tmp_path / "in.txt"), clew("predict", run, "-", text=b"dog\n\xff\n")
    assert from_file.exit_code == from_stdin.exit_code == 2
    assert f"{tmp_path / 'in.txt'}:3" in from_file.stderr
    assert "standard input:2" in from_stdin.stderr


def test_a_run_without_a_model(copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:1000])
    damaged = clew("predict", copy, "dog")
    assert damaged.exit_code == 2 and "model.safetensors has changed" in damaged.stderr
    (copy / "manifest.json").unlink()
    damaged = clew("predict", copy, "dog")
    assert damaged.exit_code == 2 and "cannot be read" in damaged.stderr and "model.safetensors" in damaged.stderr
    (copy / "model.safetensors").unlink()
    missing = clew("predict", copy, "dog")
    assert missing.exit_code == 2 and f"clew train {copy} --resume" in missing.stderr
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        result = clew("predict", tmp_path / folder, "dog")
        assert result.exit_code == 2 and "there is no run here" in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_for_who_watches(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, for a file, where the output goes elsewhere; and nothing of it in the output."""
    (tmp_path / "in.txt").write_text("dog\ncat\n")
    for text, watched in [(str(tmp_path / "in.txt"), True), ("dog", False)]:
        out, err = io.StringIO(), Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        predict(run, text, n_best=1)
        assert out.getvalue() == ("chien\nchat\n" if watched else "chien\n")
        assert ("in.txt" in err.getvalue() and "100%" in err.getvalue()) == watched


def test_a_line_typed_is_answered_before_the_next(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, answered = io.StringIO(), []

    class Keyboard(Terminal):
        @property
        def buffer(self) -> contextlib.nullcontext[Iterator[bytes]]:
            return contextlib.nullcontext(self.typed())

        def typed(self) -> Iterator[bytes]:
            for line in (b"dog\n", b"\n", b"cat\n"):
                yield line
                answered.append(out.getvalue())

    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stdin", Keyboard())
    predict(run, "-", n_best=1)
    assert answered == ["chien\n", "chien\n\n", "chien\n\nchat\n"]


def test_json_of_training_goes_to_the_output(place: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a bar is drawn on a terminal too: rich would otherwise send everything there."""
    out, err = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    train([str(copy), "train.budget.steps=162"], None, resume=True, as_json=True)
    validation, results = [json.loads(line) for line in out.getvalue().splitlines()]
    assert validation["step"] == 162 and validation["bleu"] > 50
    assert results["step"] == 162 and results == json.loads(json.dumps(Run(copy).results()))
    assert "story" in err.getvalue()


def test_a_finished_run_says_so(run: Path) -> None:
    result = clew("train", run, "--resume")
    assert result.exit_code == 0 and "has finished" in result.stderr and "valid: bleu" in result.stdout


# evaluate


def test_evaluate_equals_what_training_measured(run: Path) -> None:
    """Without a test split the validation split is meant."""
    result = clew("evaluate", run, "--json")
    found, results = json.loads(result.stdout), Run(run).results()["splits"]["valid"]
    assert found["split"] == "valid"
    assert all(found[name] == results[name] for name in ("bleu", "chrf", "perplexity"))
    assert found["outputs"] == Run(run).outputs("valid")


def test_evaluate_on_other_files(run: Path, tmp_path: Path) -> None:
    lines = [f"{source}\t{target}" for source, target in pairs(30, seed=9)]
    (tmp_path / "other.tsv").write_text("\n".join(["en\tfr", *lines]) + "\n")
    result = clew("evaluate", run, f'data.test=["{tmp_path / "other.tsv"}"]', "decode.beam=1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("test: ") and "30 of 30" in result.stdout
    assert "bleu" in result.stdout and "nrefs:1" in result.stdout


@pytest.mark.parametrize(("arguments", "said"), [
    (["model.d_model=64"], "model.d_model"),
    (["--split", "test"], 'no "test" split'),
    (["task.target=de"], "task.target"),
])  # fmt: skip
def test_a_wrong_request_to_evaluate(run: Path, arguments: list[str], said: str) -> None:
    result = clew("evaluate", run, *arguments)
    assert result.exit_code == 2 and said in result.stderr


# export


def test_export_to_ctranslate2(run: Path, tmp_path: Path) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2", reason="needs the package ctranslate2")
    result = clew("export", run, "--to", "ctranslate2", "--out", tmp_path / "ct2")
    assert result.exit_code == 0 and str(tmp_path / "ct2") in result.stdout
    tokenizer = Run(run).preprocessor().source
    tokens = [*tokenizer.tokens(tokenizer.encode(["the dog sees the cat"])[0]), "</s>"]
    best = ctranslate2.Translator(str(tmp_path / "ct2"), intra_threads=1).translate_batch([tokens])[0].hypotheses[0]
    ids = [[tokenizer.inner.token_to_id(token) for token in best]]
    assert tokenizer.decode(ids) == ["le chien voit le chat"]


@pytest.mark.parametrize(("arguments", "said"), [(["--to", "word"], "word"), ([], "--to")])
def test_a_wrong_request_to_export(run: Path, arguments: list[str], said: str) -> None:
    result = clew("export", run, *arguments)
    assert result.exit_code == 2 and said in result.stderr


# other files


def tsv(path: Path) -> None:
    path.write_text("source\ttarget\n" + "".join(f"{s}\t{t}\n" for s, t in pairs(40)))


def csv_with_header(path: Path) -> None:
    path.write_text("id,target,source\n" + "".join(f'{i},"{t}",{s}\n' for i, (s, t) in enumerate(pairs(40))))


def packed(path: Path) -> None:
    path.write_bytes(
        gzip.compress("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in pairs(40)).encode())
    )


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.tsv", tsv), ("b.csv", csv_with_header), ("c.jsonl.gz", packed)],
    ids=["tsv", "csv", "jsonl.gz"],
)
def test_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable[[Path], None]) -> None:
    """Into runs/NAME, where nothing else is said; a second time, the same name says what to do."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    result = clew("train", name, *SMALL, "train.budget.steps=2")
    assert result.exit_code == 0, result.output
    folder = Path("runs") / name[0]
    assert f"run: {folder}" in result.stdout and "40 of 40" in result.stderr
    assert clew("predict", folder, "dog").exit_code == 0
    again = clew("train", name, *SMALL, "train.budget.steps=2")
    assert again.exit_code == 2 and "already holds a run" in again.stderr and "--resume" in again.stderr


def test_parallel_files_that_are_packed(tmp_path: Path) -> None:
    for ending, side in zip(("de", "en"), zip(*pairs(40), strict=True), strict=True):
        (tmp_path / f"x.{ending}.gz").write_bytes(gzip.compress("\n".join(side).encode()))
    files = [tmp_path / "x.de.gz", tmp_path / "x.en.gz"]
    result = clew("train", *files, *SMALL, "train.budget.steps=1", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert (Run(tmp_path / "run").recipe.task.source, Run(tmp_path / "run").recipe.task.target) == ("de", "en")


@pytest.mark.parametrize(("names", "said"), [
    (["x.txt", "short.txt"], "different numbers of lines"),
    (["x.txt", "x.txt", "x.txt"], "d_ff"),  # one corpus, whose word vectors have no such setting
    (["x.txt", "x.tsv"], "x.tsv is a table"),
    (["x.txt", "nowhere.txt"], "there is no such file"),
    (["x.tsv", "task.source=nothing"], "nothing"),
    (["x.tsv", "model.d_modle=3"], "d_model"),
    (["empty.tsv"], "empty.tsv"),
    (["binary.txt", "binary.txt"], "50 of 50 rows cannot be read"),
    (["nowhere.toml"], "nowhere.toml"),
    (["."], "no row in it"),  # of one of the files in the folder
    (["seed=2"], "no file was given"),
])  # fmt: skip
def test_wrong_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.txt").write_text("a\nb\n")
    Path("short.txt").write_text("a\n")
    Path("empty.tsv").write_text("")
    Path("binary.txt").write_bytes(bytes([0xFF, 0xD8, 0xFE, 10]) * 50)
    tsv(Path("x.tsv"))
    result = clew("train", *names, *SMALL)
    assert result.exit_code == 2, result.output
    assert said in result.stderr and "Traceback" not in result.output
    assert not Path("runs").exists()

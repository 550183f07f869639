"""From a text to word vectors through the command line: train, resume, predict, evaluate, export, explain, compare."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file
from typer.testing import CliRunner

from clew import cli
from clew.hub.vectors import load_vectors
from clew.runs import Run
from clew.runs.training import train

TOPICS = [["ship", "sea", "wave", "sail", "harbour", "captain"], ["oven", "bread", "flour", "baker", "crust", "yeast"]]
SETTINGS = ["train.threads=1", "train.batch.tokens=2000", "tokenizer.min_count=2", "model.d_model=16",
            "objective.subsample=0", "train.optimizer.lr=0.1"]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences about the sea or about bread, with marks and capitals."""
    draw = random.Random(1)
    lines = [" ".join(draw.choices(topic, k=8)).capitalize() + "." for topic in draw.choices(TOPICS, k=3000)]
    file = tmp_path_factory.mktemp("words") / "my.text.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def clew(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), input=stdin)


@pytest.fixture(scope="module")
def run(text: Path) -> Path:
    folder = text.parent / "run"
    result = clew("train", text, *SETTINGS, "train.budget.epochs=5", "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


def test_a_text_becomes_vectors_that_know_its_topics(run: Path) -> None:
    vectors = Run(run).model().vectors()
    assert set(vectors.words) == {word for topic in TOPICS for word in topic}  # no capitals, no marks
    for topic in TOPICS:
        for word in topic:
            assert {near for near, _ in vectors.neighbours(word, 5)} == set(topic) - {word}
    results = Run(run).results()
    assert results["splits"]["valid"]["nearness"]["value"] > 70
    assert results["tokens"] == 5 * 8 * 3000
    assert (run / "README.md").is_file() and json.loads((run / "config.json").read_text())["vocab_size"] == 12


def test_questions(run: Path) -> None:
    result = clew(
        "predict", run, "-", stdin="ship\nship - sea + bread\nship sea bread wave\nSHIP\nquark\n\nship bread\n"
    )
    lines = result.stdout.splitlines()
    assert result.exit_code == 0 and len(lines) == 7
    assert lines[0].split()[0] in TOPICS[0]
    assert lines[1].split()[0] in TOPICS[1]
    assert lines[2] == "bread"
    assert lines[3] == lines[0]
    assert "quark" in lines[4] and "no vector" in lines[4]
    assert lines[5] == "" and lines[6].startswith("bread ")


def test_evaluate_on_ones_own_sets(run: Path, text: Path) -> None:
    result = clew("evaluate", run, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["nearness"]["value"] > 70
    pairs = text.parent / "pairs.tsv"
    pairs.write_text("word1\tword2\tscore\nship\tsea\t9\nship\tbread\t1\noven\tflour\t8\nwave\tcrust\t2\n")
    folder = text.parent / "judged"
    sets = f'task.sets=["{pairs}"]'
    result = clew("train", text, *SETTINGS, sets, 'task.probes=["sea"]', "train.budget.epochs=5", "--out", folder)
    assert result.exit_code == 0, result.output
    valid = Run(folder).results()["splits"]["valid"]
    assert valid["similarity"]["value"] == valid["similarity:pairs"]["value"] > 50
    assert valid["similarity:pairs"]["answered"] == 4
    assert (folder / "outputs/valid.txt").read_text().startswith("sea: ")


@pytest.mark.parametrize("settings", [
    (), ("objective.share=false",), ("model.architecture=cbow",),
    ("model.min_n=3", "model.max_n=4", "model.buckets=500"),
    ("objective.kind=hierarchical_softmax",), ("objective.kind=hierarchical_softmax", "model.architecture=cbow"),
])  # fmt: skip
def test_every_kind_learns_and_resumes_to_the_bit(text: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    """Cut off in the second epoch and resumed: the same weights as at one go."""
    given = [str(text), *[s for s in SETTINGS if "subsample" not in s or "kind=hier" not in str(settings)], *settings]
    at_once = clew("train", *given, "train.budget.epochs=3", "--out", tmp_path / "whole")
    assert at_once.exit_code == 0, at_once.output
    recipe = Run(tmp_path / "whole").recipe
    assert Run(tmp_path / "whole").results()["splits"]["valid"]["nearness"]["value"] > 65
    steps = train(recipe, tmp_path / "cut")
    for moment in steps:
        if moment.progress.epoch > 1.5:
            break
    steps.close()
    list(train(recipe, tmp_path / "cut", resume=True))
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("cut", "whole"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_answers_for_machines(run: Path) -> None:
    result = clew("predict", run, "-", "--json", "--n-best", "3", stdin="ship\nship sea bread\nquark\n")
    rows = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]  # no NaN
    assert len(rows[0]["n_best"]) == 3 and {found["text"] for found in rows[0]["n_best"]} < set(TOPICS[0])
    assert rows[0]["text"] == rows[0]["n_best"][0]["text"] and rows[1]["text"] == "bread" and rows[2]["text"] == ""


def test_a_set_in_another_language_is_told_before_training(text: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("word1\tword2\tscore\nnavire\tmer\t9\nfour\tpain\t8\n")
    result = clew("train", text, *SETTINGS, f'task.sets=["{tmp_path / "pairs.tsv"}"]', "--out", tmp_path / "run")
    assert result.exit_code == 2 and "too few words of pairs" in result.stderr and "task.sets" in result.stderr
    assert not (tmp_path / "run").exists()


def test_flops_are_not_counted_and_said_so(text: Path, tmp_path: Path) -> None:
    result = clew("train", text, *SETTINGS, "train.budget.flops=1e9", "--out", tmp_path / "run")
    assert result.exit_code == 2 and "not counted in flops" in result.stderr


def test_two_threads_learn_as_well(text: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    settings = ["train.threads=2" if "threads" in setting else setting for setting in SETTINGS]
    result = clew("train", text, *settings, "train.budget.epochs=5", "--out", tmp_path / "run")
    torch.set_num_threads(before)
    assert result.exit_code == 0, result.output
    assert Run(tmp_path / "run").results()["splits"]["valid"]["nearness"]["value"] > 70


def test_the_equation_trains_too(text: Path, tmp_path: Path) -> None:
    settings = [s for s in SETTINGS if "batch.tokens" not in s and "lr" not in s]
    result = clew("train", text, *settings, "objective.engine=equation", "train.batch.tokens=400",
                  "train.budget.epochs=1", "train.optimizer.kind=adam", "train.optimizer.lr=0.02",
                  "--out", tmp_path / "run")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert Run(tmp_path / "run").results()["splits"]["valid"]["nearness"]["value"] > 70


def test_no_kernel_for_skipgram_over_ngrams_down_a_tree(text: Path, tmp_path: Path) -> None:
    settings = ("objective.kind=hierarchical_softmax", "model.min_n=3", "model.max_n=4", "model.buckets=500")
    result = clew("train", text, *settings, "train.budget.steps=1", "--out", tmp_path / "run")
    assert result.exit_code == 2 and 'objective.engine="equation"' in result.stderr


@pytest.mark.parametrize(("target", "file"), [
    ("word2vec", "vectors.bin"), ("text", "vectors.vec"), ("glove", "vectors.txt"),
    ("safetensors", "vectors.safetensors"),
])  # fmt: skip
def test_export(run: Path, target: str, file: str) -> None:
    assert clew("export", run, "--to", target).exit_code == 0
    vectors, ours = load_vectors(run / file), Run(run).model().vectors()
    assert vectors.words == ours.words
    np.testing.assert_allclose(vectors.matrix, ours.matrix, atol=1e-5)


def test_export_to_the_wrong_program(run: Path) -> None:
    result = clew("export", run, "--to", "ctranslate2")
    assert result.exit_code == 2 and "word2vec cannot be written as ctranslate2" in result.stderr


def test_explain(text: Path) -> None:
    result = clew("data", text, "--explain", "--set", "tokenizer.min_count=2", "--set", "objective.subsample=0")
    assert result.exit_code == 0, result.output
    assert "24,000 words, 12 distinct; the vocabulary covers 24,000; 12 words kept" in result.stdout
    shown = json.loads(clew("data", text, "--explain", "--set", "tokenizer.min_count=2", "--json").stdout)
    assert len(shown["sentence"]) == 8 and set(shown["kept"]) <= set(shown["sentence"])
    assert [centre for centre, _ in shown["pairs"]] == shown["kept"]
    assert all(len(context) <= 10 for _, context in shown["pairs"])


def test_a_comparison_shows_neighbours(text: Path, tmp_path: Path) -> None:
    from importlib.resources import as_file, files

    with as_file(files("clew.presets") / "words.toml") as preset:
        result = clew("compare", preset, *SETTINGS, f'data.train=["{text}"]', 'task.probes=["sea", "nothing"]',
                      "train.budget.epochs=1", "--vary", "model.d_model=4,16", "--out", tmp_path / "study")  # fmt: skip
    assert result.exit_code == 0, result.output
    view = json.loads((tmp_path / "study/report.json").read_text())
    assert (view["items"], view["counted"], view["quality"]) == ("word", "words", "nearness")
    assert [sentence["source"] for sentence in view["sentences"]] == ["sea", "nothing"]
    assert all(model["decode_sentences_per_cpu_second"] is None for model in view["models"])
    assert "words per CPU-second" in " ".join(view["summary"])
    assert "reference" not in (tmp_path / "study/report.md").read_text()


@pytest.mark.parametrize(("content", "said"), [
    (b"", "0 words occur"), (b"word " * 50, "1 words occur"), (b"\x00\x01\x02" * 400, "NUL bytes"),
    (b"\xff\xfe\xfd " * 300, "0 words occur"),
])  # fmt: skip
def test_what_is_no_text(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    result = clew("train", tmp_path / "bad.txt", "--out", tmp_path / "run")
    assert result.exit_code == 2 and said in result.stderr and not (tmp_path / "run").exists()


def test_settings_that_make_no_word_vectors(text: Path, tmp_path: Path) -> None:
    for setting, said in (
        ("tokenizer.kind=bpe", "words, not of bpe tokens"), ("model.max_n=4", "set both"),
        ('data.name="wikipedia_en"', "either files or a known set"), ('task.sets=["nosuch"]', "nosuch"),
    ):  # fmt: skip
        result = clew("train", text, setting, "--out", tmp_path / "run")
        assert result.exit_code == 2 and said in result.stderr, result.stderr

"""An encoder on the tasks of a suite: which are trained, from what, and the figures of the table."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from clew import cli
from clew.config import build
from clew.contracts import Prediction
from clew.errors import RecipeError
from clew.hub.transformers_folder import Checkpoint
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import open_training
from clew.study.suite import SUITES, load_suite

WORDS = ["good", "fine", "bad", "poor", "film", "book", "song", "play"]
SMALL = ["task.max_length=16", "train.budget.epochs=2", "train.batch.tokens=64", "train.schedule.warmup=2"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def table(file: Path, n: int, columns: dict[str, Callable[[int], str]]) -> None:
    rows = [[make(i) for make in columns.values()] for i in range(n)]
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join("\t".join(row) for row in [list(columns), *rows]) + "\n")


def sentence(i: int) -> str:
    return f"{WORDS[i * 7 % 4]} {WORDS[4 + i * 5 % 4]}"


SENTENCES = {"sentence": sentence, "label": lambda i: str(int(i * 7 % 4 < 2))}
LIKENESS = {"sentence1": sentence, "sentence2": lambda i: sentence(i + 1), "score": lambda i: str(i % 6)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder that has seen some text, a run that is no encoder, and tables of two tasks."""
    folder = tmp_path_factory.mktemp("suite")
    for name, columns in {"cola": SENTENCES, "stsb": LIKENESS}.items():
        table(folder / name / "train.tsv", 40, columns)
        table(folder / name / "dev.tsv", 12, columns)
    text = "\n\n".join(" ".join(f"{sentence(i + k)}." for k in range(3)) for i in range(40))
    (folder / "text.txt").write_text(text)
    (folder / "bert.toml").write_text(f"""
name = "tiny"
task = {{ kind = "pretrain", max_length = 16 }}
data = {{ kind = "text", train = ["{folder}/text.txt"], valid = ["{folder}/text.txt"] }}
tokenizer = {{ kind = "wordpiece", vocab_size = 60, lowercase = true }}
objective = {{ kind = "masked_lm" }}
model = {{ kind = "bert", d_model = 16, d_ff = 32, n_heads = 2, n_layers = 1, max_length = 16 }}
train = {{ batch.tokens = 128, device = "cpu", threads = 1, budget = {{ steps = 5 }} }}
""")
    (folder / "lstm.toml").write_text(f"""
name = "lstm"
task = {{ kind = "classify", text = "sentence", label = "label" }}
data = {{ kind = "files", train = ["{folder}/cola/train.tsv"], columns = ["sentence", "label"] }}
model = {{ kind = "text_classifier" }}
objective = {{ kind = "classification" }}
train = {{ budget = {{ steps = 1 }}, threads = 1, device = "cpu" }}
""")
    mp = pytest.MonkeyPatch()
    mp.setenv("CLEW_CACHE", str(folder / "cache"))
    for name in ("bert", "lstm"):
        training = open_training(load_recipe(folder / f"{name}.toml")[0], folder / name)
        assert training is not None
        for _ in training.go():
            pass
        training.finish()
    mp.undo()
    return folder


@pytest.fixture
def suite(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `clew evaluate RUN --suite glue` where only cola and stsb have data, out into `tmp_path/out`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLEW_DATA", raising=False)
    files = [
        f"{task}.data={{kind='files', train=['{place}/{task}/train.tsv'], valid=['{place}/{task}/dev.tsv'], "
        f"columns={list(columns)}}}"
        for task, columns in {"cola": SENTENCES, "stsb": LIKENESS}.items()
    ]
    absent = [f"{task}.data={{kind='catalogue', name='rte'}}" for task in ("qqp", "mnli", "wnli")]

    def invoke(*arguments: str, run: str = "bert") -> Result:
        command = ["evaluate", str(place / run), "--suite", "glue", "--out", str(tmp_path / "out"), *SMALL]
        return CliRunner().invoke(cli.app, [*command, *files, *absent, *arguments])

    return invoke


def results(folder: Path, task: str, seed: int = 1) -> dict[str, Any]:
    return Run.open(folder / task / f"seed-{seed}").results()["splits"]["valid"]


def test_every_task_with_data_is_trained_and_the_others_are_named(
    suite: Callable[..., Result], place: Path, tmp_path: Path
) -> None:
    result = suite("--json")
    assert result.exit_code == 0, result.output
    view, out = json.loads(result.stdout), tmp_path / "out"
    assert set(view["tasks"]) == {"cola", "stsb"}
    assert set(view["left_out"]) == set(SUITES["glue"]) - {"cola", "stsb"} and not view["failed"]
    assert "rte is left out: the files of rte are not on this machine" in result.stderr
    scores = []
    for task, metrics in {"cola": ["matthews", "accuracy"], "stsb": ["pearson", "spearman"]}.items():
        found, measured = view["tasks"][task], results(out, task)
        assert found["splits"]["valid"]["examples"] == 12
        for metric in metrics:
            shown = found["splits"]["valid"][metric]
            kept = measured[metric]
            assert (shown["mean"], shown["low"], shown["high"]) == (kept["value"], kept["low"], kept["high"])
        scores.append(fmean(measured[metric]["value"] for metric in metrics))
        assert found["score"]["mean"] == pytest.approx(scores[-1])
        assert Run(out / task / "seed-1").recipe.model.start == str(place / "bert")  # type: ignore[attr-defined]
    assert view["average"]["mean"] == pytest.approx(fmean(scores))
    text = (out / "report.md").read_text()
    for score in scores:
        assert f"| {score:.1f} " in text
    assert "average of 2 of 9" in text and f"| {fmean(scores):.1f} " in text
    assert all(f"Left out: {task}: " in text for task in view["left_out"])


def test_again_it_trains_what_is_missing(suite: Callable[..., Result], tmp_path: Path) -> None:
    """A finished task is left as it is, even where its data has gone; one that was cut short goes on."""
    first = suite("--tasks", "cola,stsb", "--seeds", "2")
    assert first.exit_code == 0, first.output
    out = tmp_path / "out"
    kept = {seed: (out / "cola" / f"seed-{seed}" / "results.json").read_bytes() for seed in (1, 2)}
    expected = results(out, "stsb", 2)["pearson"]
    cut = out / "stsb" / "seed-2"
    (cut / "results.json").unlink()
    (cut / "model.safetensors").unlink()
    shutil.rmtree(cut / "checkpoints")  # as if it was killed before it first saved
    again = suite("--tasks", "cola,stsb", "--seeds", "2")
    assert again.exit_code == 0, again.output
    assert {seed: (out / "cola" / f"seed-{seed}" / "results.json").read_bytes() for seed in (1, 2)} == kept
    assert results(out, "stsb", 2)["pearson"] == expected
    assert again.stdout.replace(" ", "").split("|score|")[0] == first.stdout.replace(" ", "").split("|score|")[0]
    assert "over 2 trainings" in again.stdout
    other = suite("--tasks", "cola,stsb", "--seeds", "2", "cola.train.optimizer.lr=1e-2")
    assert other.exit_code == 2 and "another recipe trained" in other.stderr


def test_a_failed_task_is_reported_and_the_others_count(suite: Callable[..., Result], tmp_path: Path) -> None:
    result = suite("--tasks", "cola,stsb", "stsb.task.score=nothing")
    assert result.exit_code == 1
    text = (tmp_path / "out" / "report.md").read_text()
    assert 'Failed: stsb: no column "nothing"' in text and "average of 1 of 9" in text


@pytest.mark.parametrize(("arguments", "said"), [
    (["--tasks", "cola,colla"], "glue has no task colla"), (["--suite", "glu"], 'there is no suite "glu"'),
    (["--split", "valid"], "a suite measures the splits of its tasks"), (["--tasks", "rte"], "none of the tasks"),
    (["model.d_modell=3"], 'unknown key "d_modell"'),
])  # fmt: skip
def test_wrong_requests(suite: Callable[..., Result], tmp_path: Path, arguments: list[str], said: str) -> None:
    result = suite(*arguments)
    assert result.exit_code == 2 and said in result.stderr, result.output
    assert not (tmp_path / "out").exists()


def test_only_an_encoder_can_be_started_from(suite: Callable[..., Result], place: Path) -> None:
    result = suite(run="lstm")
    assert result.exit_code == 2 and "holds a text_classifier, which is no encoder" in result.stderr
    alone = CliRunner().invoke(cli.app, ["evaluate", str(place / "bert"), "--tasks", "cola"])
    assert alone.exit_code == 2 and "are about a suite" in alone.stderr


def test_a_setting_is_for_all_tasks_or_for_one() -> None:
    found = load_suite("glue", "1e3", ["cola", "rte"], ["seed=3", "rte.seed=4", "sst2.seed=5"])
    assert {task: recipe.seed for task, recipe in found.items()} == {"cola": 3, "rte": 4}
    assert found["cola"].model.start == "1e3"  # a name, whatever it looks like
    with pytest.raises(RecipeError, match="known: glue"):
        load_suite("superglue", "x", [], [])


def test_checkpoints_without_weights_are_refused_before_training(
    suite: Callable[..., Result], place: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(Checkpoint.find(place / "bert").folder / "config.json", bare)
    result = suite(run=str(bare))
    assert result.exit_code == 2 and "there is no model.safetensors" in result.stderr


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Makes a folder of a hub data set, as GLUE's are: named labels, those of test splits secret."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()

    def make(texts: list[str], labels: list[str], splits: dict[str, int]) -> str:
        features = datasets.Features(
            {name: datasets.Value("string") for name in texts}
            | {"label": datasets.ClassLabel(names=labels), "idx": datasets.Value("int32")}
        )
        tables = {}
        for split, n in splits.items():
            columns = {name: [sentence(i + k) for i in range(n)] for k, name in enumerate(texts)}
            told = [-1 if split.startswith("test") else i % len(labels) for i in range(n)]
            tables[split] = datasets.Dataset.from_dict({**columns, "label": told, "idx": range(n)}, features=features)
        datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "set"))
        return str(tmp_path / "set")

    return make


@pytest.mark.parametrize(("task", "texts", "labels"), [
    ("qqp", ["question1", "question2"], ["not_duplicate", "duplicate"]),
    ("wnli", ["sentence1", "sentence2"], ["not_entailment", "entailment"]),
])  # fmt: skip
def test_tasks_of_the_hub(hub: Callable[..., str], task: str, texts: list[str], labels: list[str]) -> None:
    name = hub(texts, labels, {"train": 8, "validation": 4, "test": 4})
    recipe = load_suite("glue", "x", [task], [f"data.name={name}"])[task]
    data, reader = build("data", recipe.data), build("task", recipe.task)
    assert data.splits == ("train", "valid")
    assert set(reader.labels(data.split("train"))) == set(labels)
    assert reader.inputs(data.split("valid"))[1] == f"{sentence(1)}\t{sentence(2)}"
    if task == "qqp":
        said = [Prediction("duplicate", 1.0)] * 4  # right twice: precision 1/2, recall 1
        assert reader.figures(said, data.split("valid"))["f1"].value == pytest.approx(200 / 3)


def test_mnli_is_measured_on_both_its_splits(
    suite: Callable[..., Result], hub: Callable[..., str], tmp_path: Path
) -> None:
    splits = {"train": 24, "validation_matched": 6, "validation_mismatched": 9, "test_matched": 3}
    name = hub(["premise", "hypothesis"], ["entailment", "neutral", "contradiction"], splits)
    preset = load_suite("glue", "x", ["mnli"], [])["mnli"].data.model_dump() | {"name": name}
    given = ", ".join(f"{key}={inline(value)}" for key, value in preset.items() if value is not None)
    result = suite("--tasks", "mnli", "--json", f"mnli.data={{{given}}}")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["tasks"]["mnli"]
    assert {split: each["examples"] for split, each in found["splits"].items()} == {"matched": 6, "mismatched": 9}
    measured = Run.open(tmp_path / "out/mnli/seed-1").results()["splits"]
    mean = fmean(measured[split]["accuracy"]["value"] for split in ("matched", "mismatched"))
    assert found["score"]["mean"] == pytest.approx(mean)


def inline(value: Any) -> str:
    """As TOML."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}={inline(each)}' for key, each in value.items())}}}"
    return json.dumps(value)

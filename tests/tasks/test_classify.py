"""Classification from a table to labels, through the command line and through a comparison."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from clew import cli
from clew.config import DecodeConfig, build
from clew.hub.vectors import save_vectors
from clew.models.vectors import WordVectors
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import train

HOME = Path(__file__).parents[2]
DATA = Path(os.environ.get("CLEW_DATA", "../shared/data"))
SIDES = {"good": ["fine", "lovely", "great"], "bad": ["poor", "awful", "dull"]}
FILL = ["the", "film", "is", "a", "story", "of", "people", "and"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clew(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], input=text)


def table(file: Path, n: int, extra: str = "") -> Path:
    """Reviews, good or bad by one word, often among others."""
    rng = random.Random(n)
    lines = ["text\tlabel"]
    for label in rng.choices(list(SIDES), k=n):
        words = [*rng.choices(FILL, k=rng.randint(0, 9)), rng.choice(SIDES[label])]
        rng.shuffle(words)
        lines.append(f"{' '.join(words)}\t{label}")
    file.write_text("\n".join(lines) + f"\n{extra}")
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of reviews (one of validation with a label that training lacks), a recipe, and its run."""
    folder = tmp_path_factory.mktemp("classify")
    table(folder / "train.tsv", 200)
    table(folder / "valid.tsv", 30, extra="the film is great\tmixed\n")
    (folder / "reviews.toml").write_text(f"""
name = "reviews"
task = {{ kind = "classify", text = "text", label = "label" }}
data.kind = "files"
data.columns = ["text", "label"]
data.train = ["{folder}/train.tsv"]
data.valid = ["{folder}/valid.tsv"]
tokenizer = {{ kind = "word", vocab_size = 100 }}
model = {{ kind = "text_classifier", d_embedding = 8, d_model = 6, dropout = 0.1 }}
objective = {{ kind = "classification" }}
[train]
batch.tokens = 200
device = "cpu"
threads = 1
optimizer = {{ kind = "adam", lr = 2e-2 }}
schedule = {{ kind = "constant" }}
budget = {{ epochs = 8 }}
""")
    result = clew("train", folder / "reviews.toml", "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return folder


def test_the_run(place: Path) -> None:
    run = Run(place / "run")
    config = json.loads((run.path / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "good"} and run.preprocessor().labels == ["bad", "good"]
    results = run.results()
    figures = results["splits"]["valid"]
    assert figures["accuracy"]["value"] == pytest.approx(100 * 30 / 31)  # "mixed" can only be missed
    assert figures["accuracy"]["low"] < figures["accuracy"]["value"] < 100
    assert figures["macro_f1"]["value"] == pytest.approx(100 * 2 / 3, abs=3)
    assert len(run.outputs("valid")) == figures["sentences"] == 31
    assert results["tokens"] == 200 * 8
    assert "1,600 texts" in (run.path / "README.md").read_text()
    assert {"loss", "accuracy", "macro_f1"} == next(row["valid"] for row in run.metrics() if "valid" in row).keys()


def test_predict(place: Path) -> None:
    texts = ["a lovely story", "quagga", "the people is awful and the story is dull", "zebra"]
    plain = clew("predict", place / "run", "-", text="\n\n".join(texts) + "\n")
    assert plain.exit_code == 0 and plain.stdout.splitlines()[::4] == ["good", "bad"]
    assert plain.stdout.splitlines()[1::2] == [""] * 3  # a blank line for a blank line
    found = [json.loads(line) for line in clew("predict", place / "run", "--json", "--n-best", "2", "-",
                                               text="\n".join(texts)).stdout.splitlines()]  # fmt: skip
    assert (found[0]["text"], found[0]["score"] > 0.9) == ("good", True)
    one, other = found[1]["n_best"], found[3]["n_best"]
    assert [label["text"] for label in one] == [label["text"] for label in other]
    assert [label["score"] for label in one] == pytest.approx([label["score"] for label in other])
    for each in found:
        assert sum(label["score"] for label in each["n_best"]) == pytest.approx(1)
    run = Run(place / "run")
    many = texts * 10
    decode = DecodeConfig(batch_size=3)
    assert [
        p.text for p in run.task.predict(run.model(), run.preprocessor(), many, decode)
    ] == plain.stdout.split() * 10
    assert clew("predict", place / "run", texts[0], texts[2], "decode.batch_size=1").stdout == "good\nbad\n"
    refused = clew("predict", place / "run", "--precision", "int8", "a lovely story")
    assert refused.exit_code == 2 and "fp32" in refused.stderr


def test_evaluate(place: Path) -> None:
    table(place / "other.tsv", 40)
    result = clew("evaluate", place / "run", f'data.valid=["{place}/other.tsv"]', "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["accuracy"]["value"] == 100
    shown = clew("evaluate", place / "run", f'data.valid=["{place}/other.tsv"]').stdout
    assert " texts  40" in shown and "decode_texts_per_cpu_second" in shown and "sentence" not in shown


def test_compare(place: Path) -> None:
    """Encoders side by side, to the report."""
    result = clew(
        "compare", place / "reviews.toml", "--vary", "model.encoder=mean,recurrent", "--budget", "2epochs",
        "--out", place / "study", "--json",
    )  # fmt: skip
    if "has not been built" in result.output:
        pytest.skip("the browser page has not been built (python web/build.py)")
    assert result.exit_code == 0, result.output
    report = (place / "study" / "report.md").read_text()
    assert "Accuracy" in report and "Macro-F1" in report and "texts per CPU-second" in report
    assert "decoded texts / CPU-s" in report and "sentence" not in report


def test_resumed_is_uninterrupted(place: Path, tmp_path: Path) -> None:
    recipe = load_recipe(place / "reviews.toml", ["train.budget.epochs=2", "train.save_every=3"])[0]
    for name, dies_at in (("whole", 0), ("killed", 5)):
        steps = train(recipe, tmp_path / name)
        for moment in steps:
            if moment.step.number == dies_at:
                steps.close()  # type: ignore[attr-defined]
    for _ in train(recipe, tmp_path / "killed", resume=True):
        pass
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


def test_frozen_vectors_through_a_run(place: Path, tmp_path: Path) -> None:
    """The table begins with the vectors and ends with them."""
    words = [word for side in SIDES.values() for word in side]
    vectors = WordVectors(words, torch.randn(6, 8, generator=torch.Generator().manual_seed(1)).numpy())
    save_vectors(vectors, tmp_path / "v.txt")
    result = clew(
        "train", place / "reviews.toml", f"model.embedding.start={tmp_path / 'v.txt'}", "model.embedding.frozen=true",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    # 6 after spaces and 6 after marks: the text has no marks
    assert f"12 of 20 words start from {tmp_path / 'v.txt'}, which has 6" in result.stderr
    run = Run(tmp_path / "run")
    weight, known = run.model().embedding.weight, run.preprocessor().tokenizer.words
    factors = torch.stack([weight[known.index(word)] / torch.tensor(vectors.vector(word)) for word in words])
    assert float(factors.min()) == pytest.approx(float(factors.max()), rel=1e-4)


@pytest.mark.parametrize("dies_at", [0, 1, 5])
def test_words_that_only_the_vectors_know(place: Path, tmp_path: Path, dies_at: int) -> None:
    """A word that training lacks is judged by its vector, also by a run killed before or after its first checkpoint."""
    drawn = torch.randn(6, 8, generator=torch.Generator().manual_seed(1)).numpy()
    words = [word for side in SIDES.values() for word in side] + ["superb", "dire"]
    save_vectors(WordVectors(words, drawn[[0, 1, 2, 3, 4, 5, 0, 3]]), tmp_path / "v.txt")
    start = [f"model.embedding.start={tmp_path / 'v.txt'}", "model.embedding.frozen=true", "train.save_every=3"]

    def trained(name: str, *settings: str, dies_at: int = 0) -> Run:
        recipe = load_recipe(place / "reviews.toml", [*start, *settings])[0]
        for moment in (steps := train(recipe, tmp_path / name)):
            if moment.step.number == dies_at:
                steps.close()  # type: ignore[attr-defined]
        for _ in train(recipe, tmp_path / name, resume=True):
            pass
        return Run.open(tmp_path / name)

    def judged(run: Run) -> list[tuple[str, float]]:
        texts = ["the film is superb", "the film is dire"]
        found = run.task.predict(run.model(), run.preprocessor(), texts, DecodeConfig())
        return [(prediction.text, prediction.score) for prediction in found]

    run = trained("wide", dies_at=dies_at)
    assert [label for label, _ in judged(run)] == ["good", "bad"]
    assert len(run.preprocessor().tokenizer) == 4 + 8 + 2 * 8
    narrow = judged(trained("narrow", "tokenizer.vocab_size=18"))  # no room: both are unknown
    assert narrow[0] == narrow[1]
    if dies_at:
        whole = trained("whole")
        assert (run.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("settings", "said"), [
    (["task.text=sentence"], 'no column "sentence"'),
    (["data.train=[ONE]"], "nothing to learn"),
])  # fmt: skip
def test_what_cannot_be_trained(place: Path, tmp_path: Path, settings: list[str], said: str) -> None:
    (tmp_path / "one.tsv").write_text("text\tlabel\nfine\tgood\nlovely\tgood\n")
    settings = [s.replace("ONE", f'"{tmp_path}/one.tsv"') for s in settings]
    result = clew("train", place / "reviews.toml", *settings, "--out", tmp_path / "run")
    assert result.exit_code == 2 and said in result.stderr, result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("variant", ["random", "static", "finetuned"])
def test_the_recipes(variant: str) -> None:
    recipe = load_recipe(HOME / "recipes" / "sst2" / f"cnn-{variant}.toml")[0]
    start = recipe.model.embedding  # type: ignore[attr-defined]
    assert (bool(start.start), start.frozen) == (variant != "random", variant == "static")


@pytest.mark.data
@pytest.mark.parametrize(("name", "text", "label", "labels"), [
    ("sst2", "sentence", "label", 2), ("sentence_polarity", "sentence", "label", 2),
    ("subjectivity", "sentence", "label", 2), ("trec_questions", "question", "fine_label", 50),
])  # fmt: skip
def test_the_catalogue(name: str, text: str, label: str, labels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no data at {DATA} (set CLEW_DATA)")
    monkeypatch.setenv("CLEW_DATA", str(DATA))
    recipe = load_recipe(HOME / "recipes" / "sst2" / "cnn-random.toml",
                         [f"data.name={name}", f"task.text={text}", f"task.label={label}"])[0]  # fmt: skip
    task, data = build("task", recipe.task), build("data", recipe.data)
    rows = data.split("train")
    preprocessor = task.preprocessor(rows, recipe.tokenizer)
    assert labels - 4 <= len(preprocessor.labels) <= labels  # a rare label may be among the rows held out
    model = task.model(recipe.model, preprocessor)
    loss = build("objective", recipe.objective)(model, next(iter(task.batches(rows, preprocessor, recipe.train, 1))))
    assert 0 < loss.total.item() / loss.count < 6
    assert 0 <= task.validate(model, preprocessor, data.split("valid"), recipe.decode, 10)["accuracy"] <= 100


def test_long_texts_are_cut_and_that_is_told(place: Path, tmp_path: Path) -> None:
    (tmp_path / "long.tsv").write_text("text\tlabel\n" + "so fine so very fine\tgood\npoor\tbad\n" * 3)
    settings = [f'data.train=["{tmp_path}/long.tsv"]', "task.max_length=4", "train.budget.epochs=1"]
    result = clew("train", place / "reviews.toml", *settings, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "3 of 6 training texts were cut to 4 tokens" in result.stderr

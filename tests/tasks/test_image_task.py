"""The tasks of one input, of images: trained, resumed, measured, asked by path, listed, compared, refused in words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from pydantic import ValidationError
from typer.testing import CliRunner

from clew import cli
from clew.config import resolve
from clew.contracts import Encoder
from clew.errors import DataError, RecipeError
from clew.inputs import Pixels, Tokens
from clew.models.bert import Bert, BertConfig
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import train
from clew.tasks.classify import Classify, ClassifyConfig
from clew.tasks.regress import Regress, RegressConfig
from clew.web.compare import compare
from clew.web.folder import Runs, series
from clew.web.model_cache import ModelCache
from clew.web.points import Clouds, offered, project
from clew.web.predict import predict

sys.path.append(str(Path(__file__).parent))
import image_fakes
from image_fakes import Flat, FlatConfig

RECIPE = """
name = "stripes"
task = { kind = "classify", image = "image", label = "label" }
data = { kind = "image_fakes:Stripes", folder = "FOLDER" }
model = { kind = "image_fakes:Flat" }
objective = { kind = "classification" }
[train]
batch.examples = 8
device = "cpu"
threads = 1
save_every = 3
keep = 9
evaluate_every = 6
optimizer = { kind = "adam", lr = 3e-2 }
schedule = { kind = "constant" }
budget = { steps = 12 }
"""


def clew(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stripes")
    (folder / "recipe.toml").write_text(RECIPE.replace("FOLDER", str(folder / "images")))
    result = clew("train", folder / "recipe.toml", "--out", folder / "runs" / "stripes")
    assert result.exit_code == 0, result.output
    assert f"next: clew predict {folder}/runs/stripes photo.png" in result.output
    for n in (300, 301, 302):
        image_fakes.write(folder, n)
    return folder


def test_it_is_trained_and_its_folder_says_so(place: Path) -> None:
    run = Run.open(place / "runs" / "stripes")
    assert run.results()["splits"]["test"]["accuracy"]["value"] == 100
    assert run.results()["tokens"] == run.results()["read"] == 12 * 8
    card = (run.path / "README.md").read_text()
    assert "96 images" in card and "`clew predict THIS_FOLDER photo.png`" in card and "token" not in card
    assert "valid/100.png" in (run.path / "samples" / "step-00000012.txt").read_text()
    about = json.loads((run.path / "config.json").read_text())
    assert about["image_size"] == [6, 6] and about["id2label"] == {"0": "lying", "1": "standing"}


def test_it_is_asked_by_paths(place: Path) -> None:
    run, paths = place / "runs" / "stripes", [place / f"{n}.png" for n in (301, 300)]
    said = clew("predict", run, *paths)
    assert said.exit_code == 0, said.output
    rows = [line.split("\t") for line in said.stdout.splitlines()]
    assert [row[:2] for row in rows] == [[str(paths[0]), "standing"], [str(paths[1]), "lying"]]
    assert all(0.5 < float(row[2]) <= 1 for row in rows)
    piped = CliRunner().invoke(cli.app, ["predict", str(run), "-", "--json"], input=f"{paths[0]}\n{paths[1]}\n")
    found = [json.loads(line) for line in piped.stdout.splitlines()]
    assert [(each["file"], each["text"]) for each in found] == [(row[0], row[1]) for row in rows]
    settings = clew("predict", run, paths[0], "decode.batch_size=1", "--n-best", "2")
    assert [line.split("\t")[2] for line in settings.stdout.splitlines()] == ["standing", "lying"]


def test_what_is_no_image_is_named(place: Path) -> None:
    (place / "cut.png").write_bytes((place / "300.png").read_bytes()[:60])
    for name, what in (("cut.png", "cannot be read as an image"), ("none.png", "there is no such image")):
        said = clew("predict", place / "runs" / "stripes", place / "300.png", place / name)
        assert said.exit_code != 0 and what in said.output and name in said.output


def test_it_is_measured_again(place: Path) -> None:
    run = Run.open(place / "runs" / "stripes")
    found = clew("evaluate", run.path, "--json")
    assert json.loads(found.stdout)["accuracy"] == run.results()["splits"]["test"]["accuracy"]
    shown = clew("evaluate", run.path).stdout
    assert " images  12" in shown and "decode_images_per_cpu_second" in shown and "sentence" not in shown


def test_the_page_lists_it_and_refuses_its_files_in_words(place: Path) -> None:
    runs = Runs(place / "runs")
    [found] = runs.summaries()
    assert not found["problem"] and found["counted"] == "images" and found["best"] == 100
    assert series(runs.open("stripes"))["valid"]["accuracy"]
    with pytest.raises(DataError, match="reads images, not texts"):
        predict(ModelCache(runs), "stripes", str(place / "300.png"), 1)
    beside = compare(runs.open("stripes"), runs.open("stripes"))
    assert not beside["why"] and all(each["source"].endswith(".png") for each in beside["examples"])
    json.dumps(beside)  # as the page is told it
    for source in ("texts", "tokens", "words"):
        with pytest.raises(RecipeError, match="no points"):
            next(project(ModelCache(runs), Clouds(), "stripes", source, "pca", 2))
    assert offered(ModelCache(runs), "stripes") == {"sources": [], "layers": []}


@pytest.mark.parametrize("tuning", ["full", "frozen", "gradual", "layerwise", "lora"])
def test_every_tuning_and_every_kept_step(place: Path, tmp_path: Path, tuning: str) -> None:
    extra = ['train.tuning.targets=["query"]'] if tuning == "lora" else []
    settings = [f'train.tuning.kind="{tuning}"', *extra, "train.average=0.9"]
    result = clew("train", place / "recipe.toml", "--out", tmp_path / "run", *settings)
    assert result.exit_code == 0, result.output
    run = Run.open(tmp_path / "run")
    own = run.model().state_dict()
    assert run.steps() == [3, 6, 9, 12] and all(
        run.model(step=s).state_dict().keys() == own.keys() for s in run.steps()
    )
    assert clew("predict", run.path, place / "300.png").exit_code == 0


def test_resumed_is_uninterrupted(place: Path, tmp_path: Path) -> None:
    recipe, _ = load_recipe(place / "recipe.toml", ["train.average=0.9"])
    for _ in train(recipe, tmp_path / "whole"):
        pass
    for moment in (training := train(recipe, tmp_path / "cut")):
        if moment.step.number == 7:  # in the second epoch, one step behind a checkpoint
            training.close()
    for _ in train(recipe, tmp_path / "cut", resume=True):
        pass
    for file in ("model.safetensors", "outputs/test.txt", "checkpoints/step-00000012/state.safetensors"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


def test_two_are_compared(place: Path, tmp_path: Path) -> None:
    done = clew(
        "compare", place / "recipe.toml", "--vary", "train.optimizer.lr=0.03,0.003", "--out", tmp_path / "study"
    )
    assert done.exit_code == 0, done.output
    report = (tmp_path / "study" / "report.md").read_text()
    assert "images per CPU-second" in report and "sentence" not in report, report
    view = json.loads((tmp_path / "study" / "report.json").read_text())
    assert view["items"] == "image" and "images/test/2" in view["sentences"][0]["source"]
    assert "<html" in (tmp_path / "study" / "report.html").read_text()


def test_a_number_of_an_image(place: Path, tmp_path: Path) -> None:
    settings = ["task={kind='regress', image='image', score='height'}", "objective.kind='regression'"]
    done = clew("train", place / "recipe.toml", "--out", tmp_path / "run", *settings)
    assert done.exit_code == 0, done.output
    assert Run.open(tmp_path / "run").results()["splits"]["test"]["pearson"]["value"] > 50
    assert Regress(RegressConfig(image="a", score="b")).unit == "images"


def test_balanced_classes_are_counted(place: Path, tmp_path: Path) -> None:
    done = clew("train", place / "recipe.toml", "--out", tmp_path / "run", "objective.class_weights='balanced'")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["model.kind='bert'"], "a bert is not built for images"),
        (["model={kind='text_classifier'}"], "a text_classifier is not built for images"),
        (["train.batch={tokens=100}"], "comes in examples"),
        (["task={kind='classify', image='label', label='label'}"], "an image was expected, and this is str"),
        (["task={kind='classify', image='photo', label='label'}"], 'no column "photo"'),
        (["task={kind='tag'}"], 'no column "tags"'),
    ],
)
def test_what_cannot_be_trained_is_told_before(place: Path, tmp_path: Path, settings: list[str], told: str) -> None:
    refused = clew("train", place / "recipe.toml", "--out", tmp_path / "run", *settings)
    assert refused.exit_code in (1, 2) and told in refused.output, refused.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("head", ["tag", "answer", "masked_lm", "choose", "translate"])
def test_what_has_no_states_of_parts_bears_no_head_that_reads_them(head: Any) -> None:
    with pytest.raises(RecipeError, match="image_fakes:Flat does not"):
        Flat.with_head(head, FlatConfig(), Pixels(1, 6, 6), 2)
    made = Bert.with_head("tag", BertConfig(d_model=8, d_ff=8, n_heads=2, n_layers=1), Tokens(9), 2)
    assert made.heads == {"tag"} and issubclass(resolve("model", "image_fakes:Flat"), Encoder)


@pytest.mark.parametrize("columns", [{}, {"text": "a", "image": "b"}, {"image": "a", "pair": "b"}])
def test_a_task_reads_texts_or_images(columns: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="name the column of texts"):
        ClassifyConfig(label="label", **columns)
    assert Classify(ClassifyConfig(image="a", label="b")).fields == ("a",)

"""The convolutional network: its blocks against loops, gradients, ten images by heart; a folder, by every command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from clew import cli
from clew.batches import ImageBatch
from clew.errors import RecipeError
from clew.inputs import Pixels
from clew.models.cnn import CNN, Block, CNNConfig
from clew.nn.work import Work
from clew.objectives.classification import Classification, ClassificationConfig
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import train
from clew.web.folder import Runs, series

SPEC, CONFIG = Pixels(2, 9, 8), CNNConfig(channels=(3, 4), dropout=0.0)
RECIPE = Path(__file__).parents[2] / "recipes" / "images" / "fashion-mnist.toml"


def classifier(config: CNNConfig = CONFIG, spec: Pixels = SPEC, n: int = 3) -> Any:
    torch.manual_seed(3)
    return CNN.with_head("classify", config, spec, n).double()


def images(n: int, spec: Pixels = SPEC) -> ImageBatch:
    pixels = torch.randn(n, spec.channels, spec.height, spec.width, generator=torch.Generator().manual_seed(1))
    return ImageBatch(pixels.double(), torch.arange(n) % 3, torch.arange(n))


@torch.no_grad()
def test_a_block_is_its_equation() -> None:
    torch.manual_seed(1)
    block, x = Block(2, 3, 3).double().eval(), images(2).pixels
    convolution, norm = block[0], block[1]
    for statistic in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        statistic.uniform_(0.5, 1.5)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    found = block(x)
    assert found.shape == (2, 3, 4, 4)
    for image, f, i, j in np.ndindex(2, 3, 4, 4):
        seen = []
        for a, b in np.ndindex(2, 2):  # the four places that become one
            row, column = 2 * i + a, 2 * j + b
            z = (convolution.weight[f] * padded[image, :, row : row + 3, column : column + 3]).sum()
            scale = norm.weight[f] / torch.sqrt(norm.running_var[f] + norm.eps)
            seen.append(max(0.0, float(scale * (z - norm.running_mean[f]) + norm.bias[f])))
        assert found[image, f, i, j].item() == pytest.approx(max(seen), abs=1e-10)


@torch.no_grad()
def test_an_image_alone_gives_the_same_logits() -> None:
    model, batch = classifier().eval(), images(3)
    together = model(batch).logits
    assert together.shape == (3, 3)
    for i in range(3):
        alone = ImageBatch(batch.pixels[i : i + 1], batch.label[i : i + 1], batch.index[i : i + 1])
        assert model(alone).logits[0].tolist() == pytest.approx(together[i].tolist(), abs=1e-12)


def test_every_weight_learns_by_its_true_gradient() -> None:
    model, batch = classifier(), images(4)

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(batch).logits, batch.label, reduction="sum")

    Classification(ClassificationConfig())(model, batch).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
        place, step = np.unravel_index(int(parameter.grad.abs().argmax()), parameter.shape), 1e-6
        with torch.no_grad():
            parameter[place] += step
            above = float(loss())
            parameter[place] -= 2 * step
            below = float(loss())
            parameter[place] += step
        assert (above - below) / (2 * step) == pytest.approx(float(parameter.grad[place]), rel=1e-4), name


def test_its_work_is_counted_by_the_multiplications_that_are_made() -> None:
    model = classifier(CNNConfig(channels=(3, 4), kernel=3), Pixels(1, 8, 8))
    convolutions = 8 * 8 * (3 * 1 * 9) + 4 * 4 * (4 * 3 * 9)
    norms = 8 * 8 * 2 * 3 + 4 * 4 * 2 * 4
    assert Work(model).training() == 6 * (convolutions + norms + 3 * 4 + 3)


def test_ten_images_are_learned_by_heart() -> None:
    model, batch = classifier(CNNConfig(channels=(16, 32), dropout=0.0)), images(10)
    optimizer, objective = torch.optim.Adam(model.parameters(), 0.01), Classification(ClassificationConfig())
    for _ in range(60):
        optimizer.zero_grad()
        objective(model, batch).total.backward()
        optimizer.step()
    assert (model.eval()(batch).logits.argmax(dim=1) == batch.label).all()


def test_what_cannot_be_built_is_told() -> None:
    with pytest.raises(RecipeError, match="cannot be halved 3 times"):
        CNN(CNNConfig(channels=(2, 2, 2)), Pixels(1, 7, 28))
    with pytest.raises(RecipeError, match="even kernel"):
        CNN(CNNConfig(kernel=4), SPEC)
    with pytest.raises(RecipeError, match="a cnn does not tag words"):
        CNN.with_head("tag", CONFIG, SPEC, 2)


# A folder of the user's own, through every command.

SETTINGS = [
    "data.size=8", "model.channels=[6,8]", "train.batch.examples=10", "train.save_every=2", "train.keep=9",
    "train.budget={steps=12}", "train.evaluate_every=6", "train.optimizer.lr=0.02", 'train.device="cpu"',
]  # fmt: skip


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
    """photos/{train,test}/{left,right}: images that are bright on one side, and a run of the recipe on them."""
    folder, rng = tmp_path_factory.mktemp("cnn"), np.random.default_rng(1)
    for split, n in (("train", 60), ("test", 20)):
        for i in range(n):
            image = rng.integers(0, 80, (10, 10), dtype=np.uint8)
            image[:, 5:] += 150 * (i % 2)
            image[:, :5] += 150 * (1 - i % 2)
            path = folder / "photos" / split / ("left", "right")[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    done = clew("train", RECIPE, f"data.folder={folder}/photos", *SETTINGS, "--out", folder / "runs" / "sides")
    assert done.exit_code == 0, done.output
    assert "resized to 8 × 8" in done.output
    return folder


def recipe(place: Path, *settings: str) -> Any:
    return load_recipe(RECIPE, [f"data.folder={place}/photos", *SETTINGS, *settings])[0]


def test_it_is_trained_asked_and_measured(place: Path) -> None:
    run, photos = Run.open(place / "runs" / "sides"), place / "photos" / "test"
    assert run.results()["splits"]["test"]["accuracy"]["value"] == 100
    said = clew("predict", run.path, photos / "left" / "0.png", photos / "right" / "1.png")
    assert [line.split("\t")[1] for line in said.stdout.splitlines()] == ["left", "right"]
    measured = json.loads(clew("evaluate", run.path, "--json").stdout)
    assert measured["accuracy"] == run.results()["splits"]["test"]["accuracy"]
    assert "none" in clew("export", run.path, "--to", "onnx").output
    [listed] = Runs(place / "runs").summaries()
    assert (listed["family"], listed["counted"], listed["problem"]) == ("cnn", "images", "")
    assert series(run)["train"]["loss"] and series(run)["valid"]["accuracy"]


def test_a_folder_of_ones_own_needs_no_recipe(place: Path, tmp_path: Path) -> None:
    done = clew("train", place / "photos", "--out", tmp_path / "run", "data.size=16", "train.budget={steps=4}")
    assert done.exit_code == 0, done.output
    run = Run.open(tmp_path / "run")
    assert (run.recipe.name, run.recipe.model.kind) == ("photos", "cnn")
    assert run.preprocessor().spec == Pixels(3, 16, 16)
    assert clew("predict", run.path, place / "photos" / "test" / "left" / "0.png").exit_code == 0


@pytest.mark.parametrize("tuning", ["frozen", "gradual", "layerwise"])
def test_every_kept_step_opens_under_every_tuning(place: Path, tmp_path: Path, tuning: str) -> None:
    for _ in train(recipe(place, f'train.tuning.kind="{tuning}"', "train.average=0.9"), tmp_path / "run"):
        pass
    run = Run.open(tmp_path / "run")
    assert run.steps() == [2, 4, 6, 8, 10, 12]
    before, after = run.model(step=2).state_dict(), run.model(step=12).state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert (not any(name.startswith("encoder.") for name in moved)) == (tuning == "frozen")


def test_resumed_is_uninterrupted(place: Path, tmp_path: Path) -> None:
    settings = recipe(place, "train.average=0.9", "model.dropout=0.3")
    for _ in train(settings, tmp_path / "whole"):
        pass
    for _ in islice(train(settings, tmp_path / "cut"), 7):
        pass
    for _ in train(settings, tmp_path / "cut", resume=True):
        pass
    for file in ("model.safetensors", "outputs/test.txt", "checkpoints/step-00000012/state.safetensors"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file

"""GloVe through recipe, fit and run folder: it learns, is resumed to the bit, and says what it cannot do."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clew.errors import RecipeError
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.runs.training import train

TOPICS = [["ship", "sea", "wave", "sail", "harbour", "captain"], ["oven", "bread", "flour", "baker", "crust", "yeast"]]
RECIPE = """
name = "glove"
task = {kind = "embed"}
tokenizer = {kind = "word"}
model = {kind = "glove", d_model = 8}
objective = {kind = "glove", window = 5, memory_mb = 10}
[data]
kind = "text"
train = ["text.txt"]
[train]
batch.tokens = 40
threads = 1
schedule = {kind = "constant"}
optimizer = {kind = "adagrad", lr = 1.0, initial = 100}
budget = {epochs = 30}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sentences about the sea or about bread, which share two words."""
    draw = random.Random(1)
    lines = [" ".join([*draw.choices(topic, k=6), "the", "of"]) for topic in draw.choices(TOPICS, k=400)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    (tmp_path / "glove.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "glove.toml"


def test_it_learns_and_is_resumed_to_the_bit(recipe: Path) -> None:
    whole = load_recipe(recipe, [])[0]
    losses = [moment.step.loss for moment in train(whole, "whole")]
    assert losses[-1] < 0.2 * losses[0]
    model = Run("whole").model()
    vectors = model.vectors()
    np.testing.assert_array_equal(vectors.matrix, (model.word + model.context).numpy(force=True))
    for topic in TOPICS:
        for word in topic:
            near = [other for other, _ in vectors.neighbours(word, 7) if other not in ("the", "of")]
            assert set(near[:5]) == set(topic) - {word}

    steps = train(whole, "cut")
    for moment in steps:
        if moment.progress.epoch > 2.5:
            break
    steps.close()
    list(train(whole, "cut", resume=True))
    ours, theirs = (load_file(next(Path(run).glob("checkpoints/*/state.safetensors"))) for run in ("cut", "whole"))
    assert {"model.word", "model.context_bias", "optimizer.0.sum", "optimizer.3.sum"} < ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_equation_trains_by_any_optimizer(recipe: Path) -> None:
    settings = ["objective.engine=equation", "train.optimizer={kind='adam', lr=0.2}"]
    losses = [moment.step.loss for moment in train(load_recipe(recipe, settings)[0], "run")]
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(("setting", "said"), [
    ("train.optimizer={kind='adam'}", "steps of AdaGrad"), ("train.optimizer.weight_decay=0.1", "no weight decay"),
])  # fmt: skip
def test_the_kernel_needs_adagrad_alone(recipe: Path, setting: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        list(train(load_recipe(recipe, [setting])[0], "run"))

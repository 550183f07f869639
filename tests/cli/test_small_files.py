"""A small file of the user's own: what is fitted is said and kept, what was written stays, what ended it is said."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from clew import cli
from clew.recipe_file import load_recipe
from clew.runs import Run
from clew.train.fit import get

WORDS = {"the": "le", "dog": "chien", "cat": "chat", "sees": "voit", "bird": "oiseau", "big": "grand", "and": "et"}
TINY = ["model.d_model=32", "model.n_encoder_layers=1", "model.n_decoder_layers=1", "train.threads=1"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clew(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """300 sentences, translated word by word."""
    folder, rng = tmp_path_factory.mktemp("small"), random.Random(1)
    sentences = [rng.choices([*WORDS], k=rng.randint(2, 5)) for _ in range(300)]
    (folder / "few.en").write_text("".join(" ".join(words) + "\n" for words in sentences))
    (folder / "few.fr").write_text("".join(" ".join(map(WORDS.__getitem__, words)) + "\n" for words in sentences))
    return [folder / "few.en", folder / "few.fr"]


def test_a_small_file_is_learned_by_the_first_command(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = clew("train", *files, *TINY, "train.budget.epochs=25", "train.optimizer.lr=5e-3", "--out", out)
    assert result.exit_code == 0, result.output
    said, results, run = result.stderr, Run(out).results(), Run(out)
    for key, value in (("tokenizer.vocab_size", 500), ("train.batch.tokens", 256), ("train.evaluate_every", 25)):
        assert f"fitted to the data: {key} = {value} (" in said
        assert get(run.recipe, key) == value
    warmup = get(run.recipe, "train.schedule.warmup")
    assert 10 < warmup < 30 and f"fitted to the data: train.schedule.warmup = {warmup} (the preset has 400)" in said
    assert {each["key"] for each in results["fitted"]} == {each["key"] for each in run.fitted}
    assert run.recipe.model.d_model == 32 and "model.d_model" not in said  # it was written
    assert run.recipe.fit == () and load_recipe(out / "recipe.toml")[0] == run.recipe
    assert "warning: the validation split has 16 examples" in said
    assert "ended: its budget was used (25 epochs)" in said and "kept: step " in said
    assert results["splits"]["valid"]["bleu"]["value"] > 20  # it was 0 before
    card = (out / "README.md").read_text()
    assert "fitted to the data: train.batch.tokens = 256" in card and f"- weights kept: {results['kept']}" in card


def test_what_patience_ended_can_be_gone_on_with(files: list[Path], tmp_path: Path) -> None:
    out, settings = (
        tmp_path / "run",
        [*TINY, "train.optimizer.lr=1e-9", "train.average=none", "train.schedule.warmup=1"],
    )
    settings += ["train.batch.tokens=2048", "train.evaluate_every=2", "train.budget={steps=24}", "decode.max_length=6"]
    first = clew("train", *files, *settings, "train.patience=2", "--out", out)
    assert first.exit_code == 0, first.output
    ended = Run(out).results()
    assert ended["ended_by"] == "patience" and ended["step"] < 24
    assert "ended: patience: 2 validations in a row were no better" in first.stderr
    assert "by its validation loss" in ended["kept"] and "no BLEU rose above 2" in ended["kept"]
    again = clew("train", *files, *settings, "train.patience=none", "--out", out, "--resume")
    assert again.exit_code == 0, again.output
    assert Run(out).results()["step"] == 24 and Run(out).results()["ended_by"] == "budget"


def test_a_warm_up_that_was_written_stays_and_is_said_to_be_too_long(files: list[Path], tmp_path: Path) -> None:
    settings = [
        *TINY,
        "train.schedule.warmup=400",
        "train.budget={steps=6}",
        "train.batch.tokens=512",
        "decode.max_length=6",
    ]
    result = clew("train", *files, *settings, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "warning: the warm-up of 400 steps is longer than the run of 6 steps" in result.stderr
    assert get(Run(tmp_path / "run").recipe, "train.schedule.warmup") == 400
    assert Run(tmp_path / "run").results()["doubts"]

"""Devices, memory and places that are not there: one clear line each. All of it as commands: benchmarks/faults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from clew import cli
from clew.cli.look import show
from clew.config import Recipe
from clew.data.cache import cache, make_room
from clew.data.documents import LONG, lines, pieces, stretches
from clew.data.text import Text, parted
from clew.errors import DataError, RecipeError, RunError
from clew.runs import Run
from clew.runs.machine import built, device_of
from clew.runs.training import train

DRILLS = Path(__file__).parents[2] / "benchmarks" / "faults"
UNCACHED = """
import numba.core.caching as caching
for kind in (caching.UserWideCacheLocator, caching.InTreeCacheLocator):
    kind.from_function = classmethod(lambda *found: None)
from clew.text.marks import without_marks
print(without_marks(b"a, b").split())
"""


@pytest.mark.slow
@pytest.mark.parametrize("drill", ["received", "machine"])
def test_drills(drill: str) -> None:
    done = subprocess.run([sys.executable, DRILLS / f"{drill}.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name", ["cuda:9", "mps" if not torch.backends.mps.is_available() else "no", "meta", "", "gpu"]
)
def test_a_device_that_is_not_here(name: str) -> None:
    with pytest.raises(RecipeError, match="no device") as refused:
        device_of(name)
    assert refused.value.where == "train.device" and "cpu" in refused.value.fix


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small classifier of words."""
    place = tmp_path_factory.mktemp("machine")
    (place / "rows.tsv").write_text(
        "text\tlabel\n" + "".join(f"film {n} is fine\tgood\nfilm {n} is dull\tbad\n" for n in range(20))
    )
    recipe = Recipe.model_validate({
        "name": "opinions", "task": {"kind": "classify", "text": "text", "label": "label"},
        "data": {"kind": "files", "train": [str(place / "rows.tsv")], "columns": ["text", "label"]},
        "tokenizer": {"kind": "word"}, "objective": {"kind": "classification"},
        "model": {"kind": "text_classifier", "encoder": "mean", "d_embedding": 8},
        "train": {"budget": {"steps": 2}, "threads": 1, "device": "cpu", "batch": {"examples": 8}},
    })  # fmt: skip
    before = torch.get_num_threads()
    for _ in train(recipe, place / "run"):
        pass
    torch.set_num_threads(before)
    (place / "run" / "manifest.json").unlink()
    return Run(place / "run")


def test_a_run_of_another_device_is_opened_on_the_cpu_and_that_is_said(run: Run) -> None:
    file = run.path / "recipe.toml"
    text = file.read_text()
    file.write_text(text.replace('device = "cpu"', 'device = "cuda:9"'))
    try:
        done = CliRunner().invoke(cli.app, ["predict", str(run.path), "a fine film"])
    finally:
        file.write_text(text)
    assert done.exit_code == 0 and "trained on cuda:9, which is not here: it runs on cpu" in done.stderr


def test_weights_that_are_no_numbers(run: Run) -> None:
    model, whole = run.model(), (run.path / "model.safetensors").read_bytes()
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = torch.nan
    run.save_model(model)
    with pytest.raises(RunError, match="not finite"):
        run.model()
    (run.path / "model.safetensors").write_bytes(whole)


def test_a_model_larger_than_the_memory_is_not_begun(run: Run) -> None:
    config = run.recipe.model.model_copy(update={"d_embedding": 10**11})
    with pytest.raises(RecipeError, match=r"parameters: .* GB, and the memory of this machine"):
        built(run.task, config, run.preprocessor())


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_too_little_memory_is_a_line(error: Exception, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Run, "model", fail)
    done = CliRunner().invoke(cli.app, ["predict", str(run.path), "a fine film"])
    assert done.exit_code == 1 and "error: there is not enough memory" in done.stderr


def test_a_cache_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be kept there(.|\n)*CLEW_CACHE"):
        cache()
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLEW_CACHE_GB", "much")
    with pytest.raises(DataError, match="'much' is no number of GB"):
        make_room(cache())


def test_code_is_compiled_where_it_can_be_kept_nowhere() -> None:
    done = subprocess.run([sys.executable, "-c", UNCACHED], capture_output=True, text=True, check=True)
    assert done.stdout == "[b'a', b'b']\n" and "compiled code can be kept nowhere" in done.stderr


@pytest.mark.parametrize("letter", ["word ", "語", "é"])
def test_a_long_line_is_read_in_parts(tmp_path: Path, letter: str) -> None:
    text = letter * (3 * LONG // len(letter.encode())) + "\nshort\n\nlast"
    (tmp_path / "text").write_text(text, newline="")
    found = [*lines([tmp_path / "text"])]
    assert "".join(each for each in found if each) == text and len(found) > 6
    assert max(len(each.encode()) for each in found if each) <= 2 * LONG
    assert [*stretches([tmp_path / "text"], "line")].count("") == [*pieces([tmp_path / "text"], "line")].count("")
    assert "".join(stretches([tmp_path / "text"], "file")) == text


def test_bytes_that_no_text_has(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a line\nanother\0\n")
    with pytest.raises(DataError, match="holds the byte 0") as refused:
        [*lines([tmp_path / "text"])]
    assert refused.value.where.endswith("text:2")


def test_a_text_on_one_line_is_parted_at_white_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text").write_text("word " * 2000)
    sides = [parted(Text((tmp_path / "text",), "text"), 0.1, name).paths[0].read_text() for name in ("train", "valid")]
    assert "".join(sides) == "word " * 2000 and 900 <= len(sides[1]) <= 1000


def test_the_address_with_its_token_stands_in_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    show("http://127.0.0.1:1/?token=secret")
    (address,) = opened
    file = Path(address.removeprefix("file://"))
    assert "secret" not in address and "token=secret" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    file.unlink()

"""What is kept of a training: by one process at a time, whole or said to be damaged, and of its own data."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from clew import cli
from clew.config import TokenizerConfig
from clew.data import cache
from clew.data.documents import Documents
from clew.data.rows import ReadReport, Rows
from clew.errors import RunError
from clew.recipe_file import load_recipe
from clew.runs import Run, manifest
from clew.runs.lock import LOCK, OWNER, Lock
from clew.runs.training import open_training, train
from clew.text.tokenizer import Tokenizer
from clew.train import checkpoint

RECIPE = """
name = "opinions"
task = { kind = "classify", text = "text", label = "label", max_length = 12 }
data = { kind = "files", train = ["TRAIN"], valid = ["VALID"], columns = ["text", "label"] }
tokenizer = { kind = "wordpiece", vocab_size = 60 }
model = { kind = "bert", d_model = 8, d_ff = 12, n_heads = 2, n_layers = 1, max_length = 16 }
objective = { kind = "classification" }
[train]
batch.examples = 10
device = "cpu"
threads = 1
save_every = 2
evaluate_every = 2
keep = 9
optimizer = { kind = "adam", lr = 1e-2 }
schedule = { kind = "constant" }
budget = { steps = 4 }
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def clew(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def table(file: Path, n: int, word: str = "film") -> Path:
    rows = [{"text": f"{word} {k % 7} is {('fine', 'dull')[k % 2]}", "label": ("good", "bad")[k % 2]} for k in range(n)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its data, and a run of it that has finished."""
    folder = tmp_path_factory.mktemp("kept")
    text = RECIPE.replace("TRAIN", str(table(folder / "train.jsonl", 40)))
    (folder / "opinions.toml").write_text(text.replace("VALID", str(table(folder / "valid.jsonl", 20))))
    for _ in train(load_recipe(folder / "opinions.toml")[0], folder / "run"):
        pass
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    return shutil.copytree(place / "run", tmp_path / "run")


# One process at a time.


def test_a_second_process_is_refused_at_once_and_a_dead_one_holds_nothing(
    place: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    holds = (
        "import sys, time; from pathlib import Path; from clew.runs.lock import Lock\n"
        "lock = Lock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", holds, str(folder)], stdout=subprocess.PIPE, text=True)
    request.addfinalizer(process.communicate)
    request.addfinalizer(process.kill)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    began = time.monotonic()
    refused = clew("train", place / "opinions.toml", "--out", folder)
    assert refused.exit_code == 2 and time.monotonic() - began < 1
    assert f"another process is training this run: process {process.pid} on " in refused.output
    process.kill()
    process.wait()
    assert (folder / OWNER).is_file()  # it is left behind, and means nothing
    done = clew("train", place / "opinions.toml", "--out", folder)
    assert done.exit_code == 0, done.output
    assert not (folder / LOCK).exists() and not (folder / OWNER).exists()


def test_a_training_holds_its_folder_until_it_ends(place: Path, tmp_path: Path) -> None:
    recipe = load_recipe(place / "opinions.toml")[0]
    training = open_training(recipe, tmp_path / "run")
    assert training is not None
    with pytest.raises(RunError, match=f"process {os.getpid()} on "):
        open_training(recipe, tmp_path / "run", resume=True)
    steps = training.go()
    next(steps)
    steps.close()
    Lock(tmp_path / "run").release()
    with pytest.raises(RunError, match="another process"):
        with_lock = Lock(tmp_path / "run")
        open_training(recipe, tmp_path / "run", resume=True)
    with_lock.release()


def test_a_recipe_that_cannot_be_trained_leaves_no_folder(place: Path, tmp_path: Path) -> None:
    refused = clew("train", place / "opinions.toml", "task.label=nothing", "--out", tmp_path / "run")
    assert refused.exit_code != 0 and not (tmp_path / "run").exists()


def test_checkpoints_of_another_training_are_not_gone_on_from(run: Path, place: Path) -> None:
    for file in run.iterdir():
        if file.name != "checkpoints":
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    refused = clew("train", place / "opinions.toml", "--out", run)
    assert refused.exit_code == 2 and "checkpoints of another training lie there" in refused.output
    assert sorted(path.name for path in run.iterdir()) == ["checkpoints"]


# Whole, or said to be damaged.


def test_a_finished_run_lists_all_its_files(run: Path) -> None:
    listed = manifest.read_manifest(run)
    assert listed is not None
    own = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert own - {name for name in own if name.startswith("checkpoints/")} == {*listed, "manifest.json"}
    said = clew("evaluate", run, "--verify")
    assert said.exit_code == 0 and "files and 2 checkpoints are as they were written" in said.output


def test_a_bit_that_was_flipped_in_any_file_is_found(run: Path) -> None:
    rng = random.Random(1)
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        bit = rng.randrange(8 * len(whole))
        path.write_bytes(whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :])
        found = clew("evaluate", run, "--verify")
        assert found.exit_code == 2, f"{path}, bit {bit}: {found.output}"
        path.write_bytes(whole)
    assert clew("evaluate", run, "--verify").exit_code == 0


@pytest.mark.parametrize("name", ["recipe.toml", "config.json", "tokenizer.json", "results.json", "model.safetensors"])
def test_a_damaged_run_does_not_answer(run: Path, name: str) -> None:
    whole = (run / name).read_bytes()
    at = len(whole) - 9
    (run / name).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    for command in (["predict", run, "film 3 is fine"], ["evaluate", run], ["export", run, "--to", "onnx"]):
        refused = clew(*command)
        assert refused.exit_code == 2 and "Traceback" not in refused.output
        assert name in refused.output
    (run / "manifest.json").unlink()  # taken as it is
    assert "is not as it was" not in clew("predict", run, "film 3 is fine").output


def test_a_lost_model_comes_back_from_its_checkpoint(run: Path, place: Path) -> None:
    before = (run / "model.safetensors").read_bytes()
    for damage in (b"", before[:-1] + bytes([before[-1] ^ 1])):
        (run / "model.safetensors").write_bytes(damage)
        assert clew("predict", run, "film 3 is fine").exit_code == 2
        again = clew("train", run, "--resume")
        assert again.exit_code == 0, again.output
        assert (run / "model.safetensors").read_bytes() == before
        assert clew("evaluate", run, "--verify").exit_code == 0
    shutil.rmtree(run / "checkpoints" / f"step-{Run(run).results()['best']['best_step']:08d}")
    (run / "model.safetensors").unlink()
    again = clew("train", run, "--resume")  # from the checkpoint before it, or there is nothing to be had
    assert (again.exit_code == 0) == ("no checkpoint has them" not in again.output)
    assert again.exit_code == 2 or (run / "model.safetensors").read_bytes() == before


# Of its own data.


@pytest.mark.parametrize("split", ["train", "valid"])
def test_changed_data_is_refused_or_accepted_by_name(run: Path, place: Path, tmp_path: Path, split: str) -> None:
    (run / "results.json").unlink()
    shutil.rmtree(run / "checkpoints" / "step-00000004")
    other = table(tmp_path / "other.jsonl", 40, word="play")
    text = (run / "recipe.toml").read_text().replace(str(place / f"{split}.jsonl"), str(other))
    (run / "recipe.toml").write_text(text)  # the same recipe, were it not for what the file holds
    refused = clew("train", run, "--resume")
    assert refused.exit_code == 1 and f"the data is not what this run was trained on: {split} changed" in refused.output
    done = clew("train", run, "--resume", "--changed-data")
    assert done.exit_code == 0, done.output
    assert f"the data changed after step-00000002: {split}" in Run(run).results()["data"]
    assert clew("train", run, "--resume").exit_code == 0  # it is its own now


def test_the_same_data_under_another_name_and_time_is_the_same(place: Path, run: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copy(place / "train.jsonl", tmp_path / "moved.jsonl"))
    os.utime(moved, (1, 1))
    text = (run / "recipe.toml").read_text().replace(str(place / "train.jsonl"), str(moved))
    (run / "recipe.toml").write_text(text)
    (run / "results.json").unlink()
    assert clew("train", run, "--resume").exit_code == 0


def test_a_fingerprint_is_of_what_rows_hold() -> None:
    def of(**columns: list[object]) -> str:
        return Rows(dict(columns), ReadReport("")).fingerprint()

    assert of(a=["x", "y"]) == of(a=["x", "y"]) != of(a=["y", "x"]) != of(b=["y", "x"])
    assert len({of(a=["1"]), of(a=[1]), of(a=[["1"]]), of(a=["1", ""]), of(a=["1"], b=[])}) == 5


# The cache.


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Tokenizer]:
    monkeypatch.setenv("CLEW_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "text.txt"
    file.write_text("the cat sat .\n\na dog ran .\n" * 20)
    return file, Tokenizer.train([file.read_text()], TokenizerConfig(kind="word", vocab_size=50, min_count=1))


def test_the_cache_goes_by_content_and_is_checked(text: tuple[Path, Tokenizer], tmp_path: Path) -> None:
    file, tokenizer = text
    first = Documents.encode([file], tokenizer).ids.copy()
    copied = Path(shutil.copy(file, tmp_path / "elsewhere.txt"))
    Documents.encode([copied], tokenizer)
    [entry] = cache.entries()
    damaged = (entry / "ids.npy").read_bytes()
    (entry / "ids.npy").write_bytes(damaged[:-1] + b"\x07")
    again = Documents.encode([file], tokenizer)
    assert (again.ids == first).all() and (entry / "ids.npy").read_bytes() == damaged
    stamp = file.stat().st_mtime_ns
    file.write_text(file.read_text().replace("cat", "dog"))
    os.utime(file, ns=(stamp, stamp))  # same size, same time, other words
    assert not (Documents.encode([file], tokenizer).ids == first).all()


def test_the_cache_is_bounded_and_emptied(
    text: tuple[Path, Tokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, tokenizer = text
    Documents.encode([file], tokenizer)
    [first] = cache.entries()
    monkeypatch.setenv("CLEW_CACHE_GB", str(1.5 * cache.size(first) / 1e9))
    other = tmp_path / "other.txt"
    other.write_text(file.read_text().replace("cat", "dog"))
    Documents.encode([other], tokenizer)
    [left] = cache.entries()
    assert left != first
    said = clew("data", "--cache")
    assert said.exit_code == 0 and "1 encoded texts" in said.output and not cache.entries()


def test_a_damaged_checkpoint_is_told_from_a_sound_one(run: Path) -> None:
    assert checkpoint.broken(run / "checkpoints") == []
    (run / "checkpoints" / "step-00000002" / "sha256").write_text("0")
    assert [path.name for path in checkpoint.broken(run / "checkpoints")] == ["step-00000002"]

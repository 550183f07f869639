"""Trainings that are killed, stopped, damaged or starved of disk: what they leave, and how they go on."""

from __future__ import annotations

import errno
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from clew import cli
from clew.config import Recipe
from clew.errors import CheckpointError, NonFiniteLoss, RecipeError, RunError
from clew.recipe_file import dump_recipe
from clew.runs import Run
from clew.runs.training import Event, train
from clew.train import checkpoint

ROOT = Path(__file__).parents[2]
STEPS = 12


def benchmark() -> ModuleType:
    """benchmarks/resume.py: its small trainings, and the fingerprint that must not change."""
    spec = importlib.util.spec_from_file_location("resume", ROOT / "benchmarks" / "resume.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


resume = benchmark()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The recipes set the number of threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def small(kind: str = "seq2seq", **train_settings: Any) -> Recipe:
    """The benchmark's training, cut to a few steps; every third is saved, every tenth validated, and the last."""
    values = resume.recipe(kind).model_dump()
    values["train"] |= {"budget": {"steps": STEPS}} | train_settings
    values["data"] |= {"size": 300, "valid": 12, "test": 8, "combinations": 2}
    return Recipe.model_validate(values)


def steps(recipe: Recipe, folder: Path, until: int = STEPS, **options: Any) -> list[Event]:
    """Train up to a step and die there, like a killed process: nothing more is written. By default: to the end."""
    moments = []
    training = train(recipe, folder, **options)
    for moment in training:
        moments.append(moment)
        if moment.step.number == until < STEPS:
            training.close()
    return moments


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {kind: tmp_path_factory.mktemp("finished") / kind for kind in ("seq2seq", "transformer")}
    for kind, folder in folders.items():
        steps(small(kind), folder)
    return folders


@pytest.fixture
def copy(finished: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(finished["seq2seq"], tmp_path / "copy")


def newest(folder: Path) -> str:
    path = checkpoint.latest(Run(folder).checkpoints)
    assert path is not None
    return path.name


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads CPU times from /proc")
def test_killed_at_random_moments() -> None:
    """The benchmark, with fewer kills: SIGKILL from outside, at any moment of the process's work."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "resume.py"), "--kills", "2", "--seed", str(random.randrange(1000))],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("2 of 2 identical\n")


def test_the_command_stopped_killed_and_resumed(tmp_path: Path) -> None:
    """`clew train`: SIGTERM, then SIGKILL, each while it trains; what then finishes is as if nothing had happened."""
    longer = small(budget={"steps": 40})
    for _ in train(longer, tmp_path / "whole"):
        pass
    (tmp_path / "recipe.toml").write_text(dump_recipe(longer))
    folder = tmp_path / "run"

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "clew", "train", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for_step(step: int, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            found = sorted((folder / "checkpoints").glob("step-*"))
            if found and int(found[-1].name[5:]) >= step:
                return
            time.sleep(0.002)
        pytest.fail(f"ended too early: {process.communicate()}")

    process = start(str(tmp_path / "recipe.toml"), "--out", str(folder))
    wait_for_step(3, process)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    at = int(newest(folder)[5:])
    told = f"stopped at your request; saved is step {at}; to go on: clew train {folder} --resume"
    assert told in " ".join(errors.split()) and "Traceback" not in errors

    process = start(str(folder), "--resume")
    wait_for_step(at + 3, process)
    process.kill()
    process.communicate()
    assert not Run(folder).finished
    for _ in train(longer, folder, resume=True):
        pass
    assert resume.fingerprint(folder) == resume.fingerprint(tmp_path / "whole")


@pytest.mark.parametrize(("kind", "number"), [("seq2seq", signal.SIGTERM), ("transformer", signal.SIGINT)])
def test_asked_to_stop_saves_first(kind: str, number: int, tmp_path: Path, finished: dict[str, Path]) -> None:
    """At a step that would not have been saved; the handlers of before are put back."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        for moment in train(small(kind), tmp_path / "run"):
            if moment.step.number == 5:
                os.kill(os.getpid(), number)
    assert newest(tmp_path / "run") == "step-00000005"
    assert signal.getsignal(number) == before
    assert [moment.step.number for moment in steps(small(kind), tmp_path / "run", resume=True)] == [*range(6, 13)]
    assert resume.fingerprint(tmp_path / "run") == resume.fingerprint(finished[kind])


def test_asked_to_stop_after_the_last_step(tmp_path: Path, finished: dict[str, Path]) -> None:
    """Then only the measuring is left to do."""
    with pytest.raises(KeyboardInterrupt):
        for moment in train(small(), tmp_path / "run"):
            if moment.step.number == STEPS:
                os.kill(os.getpid(), signal.SIGTERM)
    assert not Run(tmp_path / "run").finished
    assert steps(small(), tmp_path / "run", resume=True) == []
    assert resume.fingerprint(tmp_path / "run") == resume.fingerprint(finished["seq2seq"])


def test_killed_before_the_first_checkpoint(tmp_path: Path, finished: dict[str, Path]) -> None:
    steps(small(), tmp_path / "run", until=2)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert steps(small(), tmp_path / "run", resume=True)[0].step.number == 1
    assert resume.fingerprint(tmp_path / "run") == resume.fingerprint(finished["seq2seq"])


def test_killed_before_it_was_a_run(tmp_path: Path, finished: dict[str, Path]) -> None:
    """The recipe is written last: what a kill before it leaves is no run, and is written over."""
    (tmp_path / "run").mkdir()
    shutil.copy(finished["transformer"] / "tokenizer.json", tmp_path / "run")
    steps(small(), tmp_path / "run")
    assert resume.fingerprint(tmp_path / "run") == resume.fingerprint(finished["seq2seq"])


def test_a_half_written_line_is_dropped(tmp_path: Path, finished: dict[str, Path]) -> None:
    steps(small(), tmp_path / "run", until=11)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 11, "tok')
    assert steps(small(), tmp_path / "run", resume=True)[0].step.number == 11
    assert resume.fingerprint(tmp_path / "run") == resume.fingerprint(finished["seq2seq"])


def test_every_step_stands_once_in_the_events(tmp_path: Path) -> None:
    """Events of steps that the killed run did beyond its last checkpoint are taken back."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    recipe = small(evaluate_every=7, save_every=None)
    steps(recipe, tmp_path / "run", until=11)  # saved at step 7; the 10th, which was logged, is lost
    steps(recipe, tmp_path / "run", resume=True)
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "events"))
    events.Reload()
    rows = Run(tmp_path / "run").metrics()
    for tag, wanted in [
        ("train/loss", [(row["step"], row["loss"]) for row in rows if "loss" in row]),
        ("valid/perplexity", [(row["step"], row["valid"]["perplexity"]) for row in rows if "valid" in row]),
    ]:
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in found] == [step for step, _ in wanted]
        assert [value for _, value in found] == pytest.approx([value for _, value in wanted], rel=1e-5)


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_told(tmp_path: Path, file: str) -> None:
    steps(small(), tmp_path / "run", until=4)
    path = tmp_path / "run" / "checkpoints" / "step-00000003" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    result = CliRunner().invoke(cli.app, ["train", str(tmp_path / "run"), "--resume"])
    assert result.exit_code == 1
    assert "checksums" in result.stderr and "step-00000003" in result.stderr and "delete" in result.stderr
    shutil.rmtree(path.parent)  # the advice
    assert steps(small(), tmp_path / "run", resume=True)[0].step.number == 1


def test_another_recipe_is_refused(copy: Path) -> None:
    values = small().model_dump()
    values["seed"], values["model"]["dropout"], values["train"]["optimizer"]["lr"] = 2, 0.3, 0.1
    with pytest.raises(CheckpointError, match=r"seed, model\.dropout, train\.optimizer\.lr"):
        steps(Recipe.model_validate(values), copy, resume=True)
    with pytest.raises(CheckpointError, match=r"model\.kind"):
        steps(small("transformer"), copy, resume=True)
    assert Run(copy).finished


def test_a_second_run_into_the_folder_is_refused(copy: Path) -> None:
    before = resume.fingerprint(copy)
    with pytest.raises(RunError, match="already holds a run") as caught:
        steps(small(), copy)
    assert "--resume" in caught.value.fix and "--out" in caught.value.fix
    assert resume.fingerprint(copy) == before


def test_a_finished_run_is_left_as_it_is(copy: Path) -> None:
    before = (copy / "results.json").stat().st_mtime_ns
    assert steps(small(), copy, resume=True) == []
    assert (copy / "results.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("at", [5, 6])
def test_a_larger_budget_goes_on(at: int, tmp_path: Path, finished: dict[str, Path]) -> None:
    """Of a run killed on its way, and of one that had finished: the weights become those of the longer training."""
    first = small(budget={"steps": 6})
    training = train(first, tmp_path / "run")
    for moment in training:
        if moment.step.number == at == 5:
            training.close()
    assert Run(tmp_path / "run").finished == (at == 6)
    moments = steps(small(), tmp_path / "run", resume=True)
    assert [moment.step.number for moment in moments] == [*range(4 if at == 5 else 7, 13)]
    name = f"checkpoints/{newest(finished['seq2seq'])}/state.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (finished["seq2seq"] / name).read_bytes()
    assert Run(tmp_path / "run").results()["step"] == STEPS
    assert Run(tmp_path / "run").recipe == small()


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    values = small("transformer", save_every=1).model_dump()
    values["train"]["optimizer"]["lr"] = 1e30
    recipe = Recipe.model_validate(values)
    (tmp_path / "recipe.toml").write_text(dump_recipe(recipe))
    result = CliRunner().invoke(cli.app, ["train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run")])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    last = int(newest(tmp_path / "run")[5:])
    assert last >= 1
    assert f"step {last + 1}, data rows [" in result.stderr and "became" in result.stderr
    with pytest.raises(NonFiniteLoss, match=rf"step {last + 1}\b"):  # the checkpoint is whole: it leads there again
        steps(recipe, tmp_path / "run", resume=True)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: dict[str, Path]) -> None:
    """The checkpoint of before is whole, and with room again the run goes on."""
    real = checkpoint.save_file

    def save_file(tensors: dict[str, torch.Tensor], file: Path) -> None:
        if len(list(file.parent.parent.glob("step-*"))):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, file)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", save_file)
        with pytest.raises(RunError, match=r"cannot write the run.*No space left on device") as caught:
            steps(small(), tmp_path / "run")
    assert caught.value.where == str(tmp_path / "run")
    assert newest(tmp_path / "run") == "step-00000003"
    steps(small(), tmp_path / "run", resume=True)
    assert resume.fingerprint(tmp_path / "run") == resume.fingerprint(finished["seq2seq"])


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write the run"):
        steps(small(), tmp_path / "file" / "run")


def test_a_recipe_that_cannot_be_trained_leaves_no_run(tmp_path: Path) -> None:
    values = small("transformer").model_dump()
    values["tokenizer"] |= {"kind": "word", "vocab_size": 5000, "joint": False}
    with pytest.raises(RecipeError, match="cannot share"):
        steps(Recipe.model_validate(values), tmp_path / "run")
    assert not Run(tmp_path / "run").started

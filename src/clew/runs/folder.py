"""The run folder: what a training leaves behind, written and read in one place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from clew import __version__
from clew.config import Recipe, build
from clew.contracts import Context, Model, Opened, Task
from clew.errors import ClewError, RunError
from clew.hub.adapter import adapter_of
from clew.inputs import Preprocessor
from clew.nn.low_rank import merge
from clew.recipe_file import dump_recipe, load_received, recipe_of_run
from clew.runs import manifest, received
from clew.runs.machine import built, device_of, is_here
from clew.runs.results import metrics, well_formed, with_interval
from clew.tensor_file import save_file
from clew.train import checkpoint


class Run:
    """One run, at `path`:

    recipe.toml (filled in), config.json + model.safetensors + tokenizer.json, README.md (the model card),
    metrics.jsonl, results.json and manifest.json (once finished), outputs/, events/ (TensorBoard), checkpoints/,
    samples/. What has changed since it finished is found when it is opened: see `manifest.py`.
    Of a family that transformers has, it is a folder that transformers loads.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Return a run that exists. Raise RunError where there is none, or it has changed since it finished."""
        recipe_of_run(path)
        received.check(Path(path))
        manifest.check_opened(Path(path))
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def recipe(self) -> Recipe:
        return load_received(self.path / "recipe.toml")

    @property
    def task(self) -> Task:
        return task_of(self.recipe)

    @property
    def device(self) -> str:
        """Where the model computes: where it was trained, or on the CPU where that device is not here."""
        name = self.recipe.train.device
        return device_of(name) if name == "auto" or is_here(name) else "cpu"

    @property
    def started(self) -> bool:
        return (self.path / "recipe.toml").is_file()

    @property
    def finished(self) -> bool:
        return (self.path / "results.json").is_file()

    @property
    def go_on(self) -> str:
        """What to do about a run that has not finished."""
        return f"finish it: clew train {self.path} --resume"

    @property
    def saved(self) -> str:
        """What of a training that was stopped is saved, and what goes on with it."""
        if not self.started:
            return "nothing was saved before the first step: the same command begins anew"
        if self.finished:
            return f"the run is finished: {self.path}"
        steps = self.steps()
        return (
            f"saved is {f'step {steps[-1]:,}' if steps else 'no step yet'}; to go on: clew train {self.path} --resume"
        )

    @property
    def about(self) -> dict[str, Any]:
        """What config.json says of the run beside what transformers reads; nothing where it has not started."""
        file = self.path / "config.json"
        found = json.loads(file.read_text(encoding="utf-8")) if self.started and file.is_file() else {}
        about: dict[str, Any] = found.get("clew", found)
        return about

    @property
    def fitted(self) -> list[dict[str, Any]]:
        """What was fitted to the data before the first step: key, value, preset and why of each."""
        found: list[dict[str, Any]] = self.about.get("fitted", [])
        return found

    @property
    def has_model(self) -> bool:
        """Whether the weights that were kept are there, and as they were when the run finished."""
        return (self.path / manifest.MODEL).is_file() and not manifest.damaged(self.path, [manifest.MODEL])

    def start(
        self, recipe: Recipe, preprocessor: Preprocessor, model: Model, known: Mapping[str, Any] | None = None
    ) -> None:
        """Write what is known before the first step; recipe.toml, which makes the folder a run, comes last.

        known: what else is to be told of it, as JSON.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        preprocessor.save(self.path)
        about = {
            "clew_version": __version__, "task": recipe.task.model_dump(mode="json"),
            "model": recipe.model.model_dump(mode="json"), **preprocessor.describe(),
            **(known or {}),
        }  # fmt: skip
        config = adapter_of(model).describe(self.path, model, preprocessor, about)
        write(self.path / "config.json", json.dumps(config, indent=1, ensure_ascii=False) + "\n")
        write(self.path / "recipe.toml", dump_recipe(recipe))

    def preprocessor(self) -> Any:
        """What the task reads text with. Raise RunError where it is missing or damaged."""
        task = self.task
        try:
            return task.load_preprocessor(self.path)
        except ClewError:
            raise
        except Exception as error:  # tokenizers raises bare Exception
            raise RunError(f"what this run reads texts with is damaged: {error}", where=str(self.path)) from error

    def save_model(self, model: Model, file: str = "model.safetensors") -> None:
        """Write the weights, whole or not at all."""
        temporary = self.path / f".{file}.{os.getpid()}"
        save_file(adapter_of(model).to_hf(model), temporary, {"format": "pt"})
        os.replace(temporary, self.path / file)

    def steps(self) -> list[int]:
        """The steps whose checkpoints are kept (`train.keep`), oldest first."""
        found = (folder.name.removeprefix("step-") for folder in self.checkpoints.glob("step-*"))
        return sorted(int(step) for step in found if step.isdigit())

    def model(self, device: str = "cpu", step: int | None = None) -> Model:
        """The trained model, in evaluation mode, on as many threads as its recipe says.

        step: as it was at that checkpoint, without any averaging. Raises RunError where there is none (yet), or a
        damaged one.
        """
        file = self.path / "model.safetensors"
        if step is not None:
            file = self.checkpoints / f"step-{step:08d}" / "state.safetensors"
            if not file.is_file():
                others = ", ".join(map(str, self.steps())) or "none"
                raise RunError(f"no checkpoint of step {step} is kept", where=str(self.path), fix=f"kept are: {others}")
        elif not file.is_file():
            raise RunError("this run has no model yet", where=str(self.path), fix=self.go_on)
        else:
            manifest.check(self.path, [manifest.MODEL])
        recipe = self.recipe
        if recipe.train.threads:
            torch.set_num_threads(min(recipe.train.threads, os.cpu_count() or 1))
        model = built(self.task, recipe.model, self.preprocessor())
        try:
            state = load_file(file)
            if step is None:
                adapter_of(model).fill(model, state, str(file))
            else:
                build("tuning", recipe.train.tuning, model)
                own = checkpoint.part(state, "model.")
                # Checkpoints of PPO once held the head of values beside the policy's weights.
                model.load_state_dict({n: t for n, t in own.items() if not n.startswith("value.")})
                merge(model)
        except (SafetensorError, RuntimeError) as error:
            raise RunError(f"these weights cannot be read: {error}", where=str(file), fix="train it again") from error
        if lost := [name for name, weights in model.named_parameters() if not weights.isfinite().all()]:
            raise RunError(
                f"{len(lost)} of its tensors hold numbers that are not finite, {lost[0]} among them", where=str(file),
                fix="train it again, at a lower rate where it was training that went wrong",
            )  # fmt: skip
        return model.to(device).eval()

    def log(self, row: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Every line of metrics.jsonl."""
        file = self.path / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [json.loads(line) for line in lines]

    def forget_after(self, step: int) -> None:
        """Drop what was logged after `step`: a resumed run logs it again. A line cut short by a kill goes too."""
        file = self.path / "metrics.jsonl"
        if not file.is_file():
            return
        kept = []
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row["step"] <= step:
                kept.append(line + "\n")
        write(file, "".join(kept))

    def save_samples(self, step: int, samples: list[dict[str, str]]) -> None:
        """Write a validation's sample outputs, for people to read."""
        folder = self.path / "samples"
        folder.mkdir(exist_ok=True)
        blocks = ["\n".join(f"{name:<9} {text}" for name, text in sample.items()) for sample in samples]
        write(folder / f"step-{step:08d}.txt", "\n\n".join(blocks) + "\n")

    def save_outputs(self, split: str, outputs: list[str]) -> None:
        """Write what the model made of every row of a split, one a line."""
        (self.path / "outputs").mkdir(exist_ok=True)
        write(self.path / "outputs" / f"{split}.txt", "\n".join(outputs) + "\n")

    def outputs(self, split: str) -> list[str]:
        """What `save_outputs` wrote. Raises RunError where it is no text."""
        file = self.path / "outputs" / f"{split}.txt"
        try:
            return file.read_text(encoding="utf-8").split("\n")[:-1]
        except UnicodeDecodeError as error:
            raise RunError("these outputs are no text", where=str(file), fix=f"clew evaluate {self.path}") from error

    def unfinish(self) -> None:
        """Take the results back: training goes on."""
        for name in (manifest.RESULTS, manifest.MANIFEST):
            (self.path / name).unlink(missing_ok=True)

    def finish(self, results: dict[str, Any]) -> None:
        """Write the list of its files, then the final figures, which make the run a finished one."""
        text = json.dumps(results, indent=1, ensure_ascii=False)
        manifest.write_manifest(self.path, text.encode())
        write(self.path / manifest.RESULTS, text)
        checkpoint.flush(self.path / manifest.RESULTS)
        checkpoint.flush(self.path)

    def results(self) -> dict[str, Any]:
        """The final figures. Raises RunError where the run has not finished, or they are damaged."""
        if not self.finished:
            raise RunError("this run has not finished", where=str(self.path), fix=self.go_on)
        file = self.path / "results.json"
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            splits = [dict(split) for split in dict(found["splits"]).values()]
            if all(well_formed(figure) for split in splits for figure in metrics(split).values()):
                return found
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise RunError("results.json cannot be read", where=str(file), fix=f"clew evaluate {self.path}")

    def summary(self) -> str:
        """Return in a line its folder and, where it has finished, every metric of each split that was measured."""
        measured = self.results()["splits"] if self.finished else {}
        figures = (
            f"{split} {name} {with_interval(figure)}"
            for split, found in measured.items() for name, figure in metrics(found).items()
        )  # fmt: skip
        return ", ".join([str(self.path), *figures])


def task_of(recipe: Recipe) -> Task:
    """Return the task of a recipe, which may ask for other runs: a reference, a reward."""
    task: Task = build("task", recipe.task)
    task.bind(Context(recipe, open_run))
    return task


def open_run(path: str) -> Opened:
    """Return another run, whose model does not learn; building it changes nothing that is drawn here."""
    run, threads = Run.open(path), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        model = run.model()
    torch.set_num_threads(threads)
    return Opened(run.task, model.requires_grad_(False), run.preprocessor(), run.summary())


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A run that cannot be written (disk full, no permission) is a RunError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"cannot write the run: {error}", where=str(folder),
            fix="make room there, or choose another --out; what was saved is whole: --resume goes on from it",
        ) from error  # fmt: skip


def write(file: Path, text: str) -> None:
    """Replace a file whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)

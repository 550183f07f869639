"""Kill trainings at random moments, resume them, and compare what they leave with an uninterrupted run's, bit by bit.

Each trial starts a small training in a fresh folder, sends SIGKILL at a moment drawn uniformly over the CPU time of the
uninterrupted run (reading data, training, validating, writing a checkpoint, measuring), resumes, and compares weights,
checkpoint (optimizer, moving average, random state), metrics, results and outputs; only times may differ. Trials take
turns between the trainings that are chosen: translators by an LSTM with attention and by a Transformer, a classifier
that is fine-tuned by LoRA, a language model that learns by PPO from another classifier. Importing torch costs more than
such a training: trials are forks of this process, which has imported everything but computed nothing, so that no thread
pool exists yet.

    python benchmarks/resume.py [--kills 50] [--seed 1] [--of seq2seq,transformer]     # or lora,ppo

Exits with 1 unless every trial is identical.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the library warns about forks otherwise

import torch._dynamo  # imported once here, not in each fork (an optimizer imports it when it is made)
import torch.utils.tensorboard  # noqa: F401

from clew.config import Recipe
from clew.runs import Run
from clew.runs.training import train

TIMES = {
    "cpu_seconds", "wall_seconds", "tokens_per_cpu_second", "tokens_read_per_cpu_second",
    "train_tokens_per_cpu_second", "train_tokens_read_per_cpu_second",
    "decode_sentences_per_cpu_second",
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "seq2seq": {"d_embedding": 24, "d_model": 24, "dropout": 0.2},
    "transformer": {
        "d_model": 24, "d_ff": 48, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 1, "dropout": 0.2,
    },
}  # fmt: skip


def recipe(kind: str) -> Recipe:
    """A small training in which everything that has a state takes part: dropout, Adam, the average, two epochs."""
    return Recipe.model_validate({
        "name": f"resume-{kind}",
        "task": {"kind": "translate", "source": "en", "target": "fr"},
        "data": {"kind": "grammar", "size": 1000, "valid": 40, "test": 30, "combinations": 10},
        "tokenizer": {"kind": "bpe", "vocab_size": 400},
        "model": {"kind": kind, **MODELS[kind]},
        "objective": {"kind": "translation"},
        "train": {
            "threads": 1, "device": "cpu", "batch": {"tokens": 768}, "average": 0.9, "patience": 5, "save_every": 3,
            "evaluate_every": 10, "evaluate_examples": 8, "budget": {"steps": 60},
            "optimizer": {"kind": "adam", "lr": 0.01}, "schedule": {"kind": "inverse_sqrt", "warmup": 10},
        },
        "decode": {"beam": 2, "max_length": 20},
    })  # fmt: skip


GPT = {"kind": "gpt2", "d_model": 16, "n_heads": 2, "n_layers": 1, "max_length": 32, "dropout": 0.0}
BERT = {"kind": "bert", "d_model": 16, "d_ff": 24, "n_heads": 2, "n_layers": 1, "max_length": 32}
WORDS = ("the", "film", "was", "long", "and", "fine", "but", "dull", "at", "last", "so", "we", "left", "early")


def written(place: Path) -> dict[str, Path]:
    """Write texts and texts with labels for the trainings of `fine_tuned`."""
    rng = random.Random(1)
    lines = [" ".join(rng.choices(WORDS, k=rng.randint(5, 12))) for _ in range(400)]
    files = {name: place / name for name in ("texts.txt", "judged.jsonl")}
    files["texts.txt"].write_text("\n".join(lines))
    rows = [json.dumps({"text": line, "label": ("bad", "good")["fine" in line]}) for line in lines]
    files["judged.jsonl"].write_text("\n".join(rows))
    return files


def fine_tuned(place: Path) -> dict[str, Recipe]:
    """Small trainings that begin with another's model, and the two which those begin with; they read `written`."""
    files = written(place)
    train = {
        "threads": 1, "device": "cpu", "save_every": 3, "evaluate_every": 10, "evaluate_examples": 8,
        "batch": {"examples": 16}, "budget": {"steps": 60}, "optimizer": {"kind": "adam", "lr": 0.01},
        "schedule": {"kind": "constant"}, "patience": 5,
    }  # fmt: skip
    texts = {"kind": "text", "train": [str(files["texts.txt"])], "held_out": 0.1}
    judged = {"kind": "files", "train": [str(files["judged.jsonl"])], "columns": ["text", "label"]}
    language = {
        "task": {"kind": "language_model", "max_length": 16, "document": "line"}, "data": texts,
        "tokenizer": {"kind": "gpt2", "vocab_size": 280}, "objective": {"kind": "language_model"}, "model": GPT,
        "decode": {"beam": 1, "max_length": 8}, "train": train | {"batch": {"tokens": 256}},
    }  # fmt: skip
    classifier = {
        "task": {"kind": "classify", "text": "text", "label": "label", "max_length": 24}, "data": judged, "model": BERT,
        "tokenizer": {"kind": "wordpiece", "vocab_size": 60}, "objective": {"kind": "classification"}, "train": train,
    }  # fmt: skip
    lora = classifier | {
        "model": {"kind": "bert", "start": str(place / "judge")}, "train": train | {"tuning": {"kind": "lora"}}
    }  # fmt: skip
    reward = {"run": str(place / "judge"), "label": "good"}
    ppo = language | {
        "task": {
            "kind": "ppo", "document": "line", "max_length": 16, "prompt": 3, "written": 6, "texts": 16,
            "reward": reward,
        },
        "objective": {"kind": "ppo", "batch_size": 8},
        "model": {"kind": "gpt2", "start": str(place / "language"), "dropout": 0.0},
        "train": train | {"batch": {"tokens": 256}, "budget": {"steps": 30}},
    }  # fmt: skip
    named = {"language": language, "judge": classifier, "lora": lora, "ppo": ppo}
    return {name: Recipe.model_validate({"name": name, **values}) for name, values in named.items()}


def fingerprint(folder: Path) -> dict[str, Any]:
    """What a finished run left, times left out: equal fingerprints are equal trainings, to the bit."""
    run = Run(folder)
    files = ["model.safetensors", *sorted(f"outputs/{file.name}" for file in (folder / "outputs").glob("*"))]
    newest = sorted(run.checkpoints.iterdir())[-1]
    files.append(str((newest / "state.safetensors").relative_to(folder)))
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    return {**hashes, "metrics": timeless(run.metrics()), "results": timeless(run.results())}


def timeless(figures: Any) -> Any:
    """The same without whatever is a time or a speed."""
    if isinstance(figures, dict):
        return {key: timeless(value) for key, value in figures.items() if key not in TIMES}
    return [timeless(value) for value in figures] if isinstance(figures, list) else figures


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child process; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def to_the_end(chosen: Recipe, folder: Path, *, resume: bool) -> float:
    """Train in a child process, wait for it, and return its CPU time (s)."""

    def work() -> None:
        for _ in train(chosen, folder, resume=resume):
            pass

    _, status, usage = os.wait4(fork(work), 0)
    if status:
        sys.exit(f"a training failed in {folder} (status {status})")
    return usage.ru_utime + usage.ru_stime


def until_killed(chosen: Recipe, folder: Path, after: float) -> bool:
    """Train in a child process and kill it after so many CPU-seconds; False where it had finished by then."""

    def work() -> None:
        for _ in train(chosen, folder):
            pass

    child = fork(work)
    ticks = os.sysconf("SC_CLK_TCK")
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.001)
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        if (int(fields[11]) + int(fields[12])) / ticks >= after:  # user and system time
            break
    time.sleep(random.uniform(0, 1 / ticks))  # the clock above ticks a hundred times a second
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def reached(folder: Path) -> str:
    """Where a killed run stood."""
    run = Run(folder)
    if not run.started:
        return "before the first step"
    if not run.checkpoints.is_dir() or not list(run.checkpoints.glob("step-*")):
        return "before the first checkpoint"
    newest = sorted(run.checkpoints.glob("step-*"))[-1].name
    last = f"step-{run.recipe.train.budget.steps:08}"
    return "in the final measurement" if newest == last else "between the first checkpoint and the last"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--of", default=",".join(MODELS), help="which trainings: seq2seq,transformer,lora,ppo")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    stages: Counter[str] = Counter()
    identical, kills = 0, 0
    with tempfile.TemporaryDirectory() as place:
        begun, names = fine_tuned(Path(place)), options.of.split(",")
        recipes = [begun[name] if name in begun else recipe(name) for name in names]
        for name in ("language", "judge") if {"lora", "ppo"} & {*names} else ():
            to_the_end(begun[name], Path(place) / name, resume=False)
        wanted, seconds = [], []
        for chosen in recipes:
            seconds.append(to_the_end(chosen, Path(place) / chosen.name, resume=False))
            wanted.append(fingerprint(Path(place) / chosen.name))
        while kills < options.kills:
            which = kills % len(recipes)
            folder, after = Path(place) / f"trial-{time.monotonic_ns()}", moments.uniform(0, seconds[which])
            if not until_killed(recipes[which], folder, after):
                continue  # it had finished: draw another moment
            kills += 1
            stages[reached(folder)] += 1
            to_the_end(recipes[which], folder, resume=Run(folder).started)
            found = fingerprint(folder)
            different = [name for name in wanted[which] | found if wanted[which].get(name) != found.get(name)]
            identical += not different
            if different:
                print(f"{recipes[which].name} killed after {after:.2f} CPU-seconds: other {', '.join(different)}")
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in used)
    print(
        json.dumps(
            {"killed": stages, "cpu_seconds_uninterrupted": [round(s, 2) for s in seconds], "cpu_seconds": round(cpu)}
        )
    )
    print(f"{identical} of {options.kills} identical")
    sys.exit(identical < options.kills)


if __name__ == "__main__":
    main()

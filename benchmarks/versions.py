"""This checkout beside another one of clew: the same trainings by turns, the ratio of their speeds, and peak memory.

    git worktree add ../old SOME_COMMIT
    python benchmarks/versions.py ../old --rounds 5

Each measurement is a process of its own over a fixed number of steps; in every round each job is run by both checkouts,
in a random order. A ratio above 1 says that this checkout is faster. The interval is Student's over the rounds, of the
logarithm of the ratio. Needs the data that the recipes name (`CLEW_DATA`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median, stdev
from typing import NamedTuple

from scipy.stats import t as student

HERE = Path(__file__).resolve().parents[1]
NOTHING_ELSE = ["train.evaluate_examples=8", "train.threads=1", "decode.beam=1"]
SMALL = 'data={kind="text", name="tinyshakespeare", held_out=0.1}'

# Job → recipe and what is changed in it, so that a run takes some seconds of CPU time.
JOBS: dict[str, tuple[str, list[str]]] = {
    "translation-lstm": ("multi30k/de-en-lstm.toml", ["train.budget={steps=60}"]),
    "translation-transformer": ("multi30k/de-en-transformer.toml", ["train.budget={steps=60}"]),
    "encoder-pretrain": ("bert/wikipedia.toml", [SMALL, "train.budget={steps=60}", "train.precision=fp32"]),
    "encoder-finetune": ("reading/snli.toml", ["train.budget={steps=120}"]),
    "decoder-characters": ("gpt/shakespeare.toml", ["train.budget={steps=60}"]),
    "word-vectors": ("words/wikipedia.toml", ["train.budget={epochs=1}"]),
}


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the root of another checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", default=",".join(JOBS))
    args = parser.parse_args()
    homes = {"this": HERE, "other": args.other.resolve()}
    order = random.Random(0)
    print("| job | this, tokens a CPU-second | other | ratio | 95% interval | peak memory, this | other |")
    print("| --- " * 7 + "|", flush=True)
    for job in args.jobs.split(","):
        found: dict[str, list[Measured]] = {"this": [], "other": []}
        for _ in range(args.rounds):
            for name in order.sample([*homes], 2):
                found[name].append(measure(job, homes[name]))
        print(row(job, found), flush=True)


class Measured(NamedTuple):
    """One training: its speed in tokens a CPU-second, and the most memory that it held, in MB."""

    speed: float
    memory: float


def measure(job: str, home: Path) -> Measured:
    """Train by the checkout at `home`. Raise RuntimeError where that fails."""
    recipe, changes = JOBS[job]
    environment = {**os.environ, "PYTHONPATH": str(home / "src"), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "clew", "train", f"recipes/{recipe}", *changes, *NOTHING_ELSE]
        with Path(folder, "said").open("w") as said:
            process = subprocess.Popen(
                [*command, "--out", folder + "/run"], cwd=home, env=environment, stdout=said, stderr=said
            )
            _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"{job} at {home}: {Path(folder, 'said').read_text()[-2000:]}")
        results: Mapping[str, float] = json.loads(Path(folder, "run", "results.json").read_text())
    return Measured(results["train_tokens_per_cpu_second"], usage.ru_maxrss / 1024)


def row(job: str, found: Mapping[str, list[Measured]]) -> str:
    """Return a line of the table."""
    ratios = [math.log(a.speed / b.speed) for a, b in zip(found["this"], found["other"], strict=True)]
    half = student.ppf(0.975, len(ratios) - 1) * stdev(ratios) / math.sqrt(len(ratios))
    low, high = (math.exp(fmean(ratios) + sign * half) for sign in (-1, 1))
    speeds = " | ".join(f"{median(one.speed for one in each):,.0f}" for each in found.values())
    memory = " | ".join(f"{median(one.memory for one in each):,.0f} MB" for each in found.values())
    return f"| {job} | {speeds} | {math.exp(fmean(ratios)):.3f} | {low:.3f} – {high:.3f} | {memory} |"


if __name__ == "__main__":
    main()

"""What pre-training is worth: every task from a pre-trained encoder and from a random start, in one table.

    python benchmarks/transfer.py runs/bert-wikipedia                        # all recipes below, three seeds
    python benchmarks/transfer.py runs/bert-wikipedia --tasks sst2,ud --seeds 1 train.budget.cpu_minutes=2

Both starts read with the same vocabulary, under the same recipe and budget; seeds differ in the head, the order, the
dropout, and, for the random start, in all weights. Runs lie in --out; finished ones are not trained again. The figure
of a task is the one that its recipe stops by, on the validation split.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

HOME = Path(__file__).resolve().parent.parent
FOLDERS = {"glue": HOME / "src/clew/presets/glue", "reading": HOME / "recipes/reading"}
TASKS = {
    "sst2": "glue/sst2", "cola": "glue/cola", "mrpc": "glue/mrpc", "stsb": "glue/stsb", "rte": "glue/rte",
    "qnli": "glue/qnli", "sick": "reading/sick", "snli": "reading/snli", "ud": "reading/ud",
    "wnut17": "reading/wnut17", "squad1": "reading/squad1", "squad2": "reading/squad2", "arc": "reading/arc",
}  # fmt: skip
STARTS = ("pre-trained", "random")
T_975 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # Student's t for the mean of so many seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the pre-trained run")
    parser.add_argument("settings", nargs="*", help="key=value for all")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--starts", default=",".join(STARTS), help="train only these now")
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    given = parser.parse_intermixed_args()
    rows = []
    for name in given.tasks.split(","):
        for seed in range(1, given.seeds + 1):  # the starts alternate, so that what else runs falls on both alike
            for start in given.starts.split(","):
                train(name, given.run, start, seed, given.out, given.settings)
        if all(finished(given.out, name, start, seed) for start in STARTS for seed in range(1, given.seeds + 1)):
            rows.append(row(name, given.out, range(1, given.seeds + 1)))
            print("\n".join(table(rows)), flush=True)


def folder(out: Path, name: str, start: str, seed: int) -> Path:
    return out / f"{name}-{start}-{seed}"


def finished(out: Path, name: str, start: str, seed: int) -> bool:
    return (folder(out, name, start, seed) / "results.json").is_file()


def train(name: str, run: Path, start: str, seed: int, out: Path, settings: list[str]) -> None:
    """One training, in a process of its own. Raises CalledProcessError where it fails."""
    target = folder(out, name, start, seed)
    if finished(out, name, start, seed):
        return
    begins = f"model.start={run}" if start == "pre-trained" else f"tokenizer.start={run}"
    place, _, recipe = TASKS[name].partition("/")
    command = [sys.executable, "-m", "clew", "train", str(FOLDERS[place] / f"{recipe}.toml"), begins, f"seed={seed}"]
    command += [*settings, "--out", str(target), *(["--resume"] if (target / "recipe.toml").is_file() else [])]
    subprocess.run(command, check=True, capture_output=True, text=True)


def row(name: str, out: Path, seeds: range) -> list[str]:
    """The task, its figure, both starts with their intervals over seeds, and the difference."""
    values: dict[str, list[float]] = {}
    figure, minutes = "", 0.0
    for start in STARTS:
        for seed in seeds:
            results = json.loads((folder(out, name, start, seed) / "results.json").read_text())
            figures = results["splits"]["valid"]
            figure = next(key for key, value in figures.items() if isinstance(value, dict))
            if "f1" in figures and "exact" in figures:
                figure = "f1_best_threshold" if "f1_best_threshold" in figures else "f1"
            values.setdefault(start, []).append(figures[figure]["value"])
            minutes += results["cpu_seconds"] / 60 / 2 / len(seeds)
    gains = [a - b for a, b in zip(values["pre-trained"], values["random"], strict=True)]
    return [name, figure, *map(interval, values.values()), interval(gains, sign="+"), f"{minutes:.1f}"]


def interval(values: list[float], sign: str = "") -> str:
    if len(values) == 1:
        return f"{values[0]:{sign}.1f}"
    half = T_975[len(values)] * stdev(values) / math.sqrt(len(values))
    return f"{mean(values):{sign}.1f} ± {half:.1f}"


def table(rows: list[list[str]]) -> list[str]:
    head = ["task", "figure", "pre-trained", "random start", "gain", "CPU-min each"]
    return ["", *(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])]


if __name__ == "__main__":
    main()

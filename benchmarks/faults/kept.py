"""Drills of what is kept of a training; each prints how many were tried and how many went as they should.

    python benchmarks/faults/kept.py                # all of them; or some: flips two data

flips: single bits of every file of a finished run, checkpoints included, are found by `clew evaluate --verify`.
two: a second process that trains the same run is refused within a second, whenever it comes.
data: data that changed before a resume is refused, and goes on where that is accepted by name.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from clew.errors import ClewError
from clew.recipe_file import load_recipe
from clew.runs import Run, manifest
from clew.runs.training import open_training, train

HERE = Path(__file__).resolve().parents[2]
RECIPE = """
name = "opinions"
task = { kind = "classify", text = "text", label = "label", max_length = 12 }
data = { kind = "files", train = ["TRAIN"], valid = ["VALID"], test = ["TEST"], columns = ["text", "label"] }
tokenizer = { kind = "wordpiece", vocab_size = 60 }
model = { kind = "bert", d_model = 8, d_ff = 12, n_heads = 2, n_layers = 1, max_length = 16 }
objective = { kind = "classification" }
[train]
batch.examples = 10
device = "cpu"
threads = 1
save_every = 2
evaluate_every = 2
optimizer = { kind = "adam", lr = 1e-2 }
schedule = { kind = "constant" }
budget = { steps = 8 }
"""


def table(file: Path, rows: list[tuple[str, str]]) -> Path:
    file.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return file


def opinions(n: int, first: int = 0) -> list[tuple[str, str]]:
    return [(f"film {k % 7} is {('fine', 'dull')[k % 2]}", ("good", "bad")[k % 2]) for k in range(first, first + n)]


def made(place: Path) -> Path:
    """Write data and a recipe of it; return the recipe."""
    text = RECIPE
    for name, n in (("train", 40), ("valid", 20), ("test", 20)):
        text = text.replace(name.upper(), str(table(place / f"{name}.jsonl", opinions(n))))
    (place / "opinions.toml").write_text(text)
    return place / "opinions.toml"


def run_of(recipe: Path, folder: Path) -> Path:
    for _ in train(load_recipe(recipe)[0], folder):
        pass
    return folder


def flips(place: Path, n: int = 600) -> Iterator[bool]:
    """Yield for each flip whether it was found; each file gets its share, small ones too."""
    run, rng = run_of(made(place), place / "run"), random.Random(1)
    files = sorted(path for path in run.rglob("*") if path.is_file())
    for k in range(n):
        path = files[k % len(files)]
        whole = path.read_bytes()
        bit = rng.randrange(8 * len(whole))
        path.write_bytes(whole[: bit // 8] + bytes([whole[bit // 8] ^ 1 << bit % 8]) + whole[bit // 8 + 1 :])
        try:
            manifest.check(run)
        except ClewError:
            yield True
        else:
            print(f"not found: bit {bit} of {path.relative_to(run)}", file=sys.stderr)
            yield False
        path.write_bytes(whole)
    manifest.check(run)


def two(place: Path, n: int = 20) -> Iterator[bool]:
    """Yield for each second process whether it was refused within a second of its own start being over."""
    recipe, rng = made(place), random.Random(1)
    command = [sys.executable, "-m", "clew", "train", str(recipe), "--resume", "--out"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE / "src"), os.environ.get("PYTHONPATH", "")])}
    for k in range(n):
        folder = place / f"run-{k}"
        longer = [*command, str(folder), "train.budget={wall_minutes=5}"]
        first = subprocess.Popen(longer, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (folder / ".owner.json").exists() and first.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.random() * 4)  # while it reads, while it trains
        began = time.monotonic()
        try:
            open_training(load_recipe(recipe, ["train.budget={wall_minutes=5}"])[0], folder, resume=True)
        except ClewError as error:
            yield f"process {first.pid} on" in str(error) and time.monotonic() - began < 1
        else:
            yield False
        first.kill()
        first.wait()


def data(place: Path) -> Iterator[bool]:
    """Yield for each change of the data whether it was refused, and then accepted by name and written down."""
    recipe = made(place)
    run = run_of(recipe, place / "run")
    (run / "results.json").unlink()
    (run / "manifest.json").unlink()
    rows = opinions(40)
    changes: dict[str, tuple[str, list[tuple[str, str]]]] = {
        "a word": ("train", [("play 0 is fine", "good"), *rows[1:]]),
        "a label": ("train", [(rows[0][0], "bad"), *rows[1:]]),
        "the order": ("train", rows[::-1]), "a row less": ("train", rows[:-1]), "a row more": ("train", opinions(41)),
        "validation": ("valid", opinions(20, 1)), "test": ("test", opinions(20, 1)),
    }  # fmt: skip
    for name, (split, changed) in changes.items():
        copy, file = Path(shutil.copytree(run, place / name)), place / f"{split}.jsonl"
        before, times = file.read_text(), file.stat()
        table(file, changed)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        refused = accepted = False
        try:
            open_training(load_recipe(recipe)[0], copy, resume=True)
        except ClewError as error:
            refused = f"{split} changed" in str(error)
        training = open_training(load_recipe(recipe)[0], copy, resume=True, changed_data=True)
        if training is not None:
            for _ in training.go():
                pass
            training.finish()
            accepted = any(f": {split}" in line and "data changed" in line for line in Run(copy).results()["data"])
        yield refused and accepted
        file.write_text(before)


DRILLS: dict[str, Callable[[Path], Iterator[bool]]] = {"flips": flips, "two": two, "data": data}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drills", nargs="*", help=f"of {', '.join(DRILLS)}")
    whole = True
    for name in parser.parse_args().drills or DRILLS:
        with tempfile.TemporaryDirectory() as place:
            found = [*DRILLS[name](Path(place))]
        print(f"{name}: {len(found)} tried, {sum(found)} survived", flush=True)
        whole = whole and all(found)
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()

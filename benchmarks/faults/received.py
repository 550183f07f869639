"""Run folders as somebody else may send them, each beside a good one: the good one is listed, and nothing is believed.

    python benchmarks/faults/received.py

Each bad folder is listed with a problem or left out, and refused by `Run.open` or what is read of the run, in words and
within two seconds, in a process of its own that may use 4 GB. Prints how many were tried and how many went so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kept import made, run_of

SECONDS = 2.0


def recipe(*changes: tuple[str, str]) -> Callable[[Path], None]:
    """Return what puts other settings into a run's recipe."""

    def change(run: Path) -> None:
        text = (run / "recipe.toml").read_text()
        for old, new in changes:
            assert old in text, f"{old} is not in the recipe"
            text = text.replace(old, new, 1)
        (run / "recipe.toml").write_text(text)

    return change


def text(name: str, content: str) -> Callable[[Path], None]:
    """Return what writes a file anew."""
    return lambda run: (run / name).unlink(missing_ok=True) or ((run / name).write_text(content) and None)


def pipe(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink(missing_ok=True) or os.mkfifo(run / name)


def link(name: str, to: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink(missing_ok=True) or (run / name).symlink_to(to)


def tokenizer(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def rewrite(run: Path) -> None:
        found = json.loads((run / "tokenizer.json").read_text())
        change(found)
        (run / "tokenizer.json").write_text(json.dumps(found))

    return rewrite


def sparse(name: str, size: int) -> Callable[[Path], None]:
    """Return what makes a file look huge."""

    def grow(run: Path) -> None:
        with (run / name).open("ab") as file:
            file.truncate(size)

    return grow


def replacements(found: dict) -> None:
    one = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    found["normalizer"] = {"type": "Sequence", "normalizers": [one] * 60}


BAD: dict[str, Callable[[Path], None]] = {
    "a class of its maker's": recipe(('kind = "bert"', 'kind = "os:system"')),
    "it extends a file": recipe(('name = "opinions"', 'extends = "/etc/passwd"\nname = "opinions"')),
    "a billion layers": recipe(("n_layers = 1", "n_layers = 1000000000")),
    "a width without room": recipe(("d_model = 8", "d_model = 99999998")),
    "a depth without room": recipe(("n_layers = 1", "n_layers = 199"), ("d_model = 8", "d_model = 9000")),
    "a hundred thousand threads": recipe(("threads = 1", "threads = 100000")),
    "a million hypotheses": recipe(("beam = 5", "beam = 1000000")),
    "a name that climbs": recipe(('name = "opinions"', 'name = "../../opinions"')),
    "a name of control characters": recipe(('name = "opinions"', 'name = "\\u001b[2Jopinions"')),
    "deep TOML": text("recipe.toml", "a = " + "[" * 50_000 + "]" * 50_000),
    "deep tables": text("recipe.toml", "a" + ".a" * 20_000 + " = 1"),
    "TOML of a megabyte more": text("recipe.toml", "# " + "x" * (3 << 20)),
    "no TOML": text("recipe.toml", "\0\1\2"),
    "results that are a list": text("results.json", "[]"),
    "results of wrong types": text(
        "results.json", '{"splits": {"test": {"accuracy": {"value": {}}}}, "parameters": []}'
    ),
    "deep results": text("results.json", "[" * 100_000),
    "a log of wrong types": text("metrics.jsonl", '{"step": 1, "valid": 5}\n{"step": 2, "valid": {"accuracy": []}}\n'),
    "a log that is a pipe": pipe("metrics.jsonl"),
    "results that are a pipe": pipe("results.json"),
    "a configuration that is a pipe": pipe("config.json"),
    "a recipe that is a link": link("recipe.toml", "/etc/passwd"),
    "a log that is a link": link("metrics.jsonl", "/etc/passwd"),
    "a device": link("metrics.jsonl", "/dev/zero"),
    "a log of a terabyte": sparse("metrics.jsonl", 1 << 40),
    "results of ten gigabytes": sparse("results.json", 10 << 30),
    "a manifest that climbs": text("manifest.json", '{"sha256": {"../../../../../../etc/passwd": "0"}}'),
    "deep JSON in the tokenizer": text("tokenizer.json", "[" * 100_000),
    "replacements that grow": tokenizer(replacements),
    "no vocabulary": tokenizer(lambda found: found["model"].update(vocab={})),
    "labels of wrong types": text("labels.json", '[{"a": 1}, null]'),
    "deep labels": text("labels.json", "[" * 100_000),
    "weights of another size": text("model.safetensors", "\xff" * 64),
    "checkpoints that are a file": lambda run: (
        os.rename(run / "checkpoints", run / "x") or (run / "checkpoints").write_text("")
    ),
}

OPEN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from clew.errors import ClewError
from clew.runs import Run
import torch._dynamo, time, clew.models.bert, clew.tasks.classify, clew.web.folder
from pathlib import Path
began = time.monotonic()
place, name = Path(sys.argv[1]), sys.argv[2]
listed = {each["name"]: each for each in clew.web.folder.Runs(place).summaries()}
good = "good" in listed and not listed["good"]["problem"]
told = name not in listed or bool(listed[name]["problem"])
try:
    run = Run.open(place / name)
    list(run.task.predict(run.model(), run.preprocessor(), ["film 1 is a fine one"], run.recipe.decode))
    run.metrics(), run.results()
    refused = "opened"
except ClewError as error:
    refused = "refused: " + str(error).replace("\\n", " ")[:150]
print(good, told, f"{time.monotonic() - began:.2f}", refused)
"""


def main() -> None:
    """Try each, and print a line for those that went otherwise."""
    survived = 0
    verbose = "-v" in sys.argv
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        recipe_file = made(place)
        runs = place / "runs"
        runs.mkdir()
        run_of(recipe_file, runs / "good")
        for bad, change in BAD.items():
            run = runs / "bad"
            subprocess.run(["cp", "-r", runs / "good", run], check=True)
            (run / "manifest.json").unlink()
            change(run)
            began = time.monotonic()
            try:
                done = subprocess.run(
                    [sys.executable, "-c", OPEN, runs, "bad"], capture_output=True, text=True, timeout=60
                )
                said = done.stdout.strip() or done.stderr.strip()[-300:]
            except subprocess.TimeoutExpired:
                said = "hung"
            good, _, seconds, _ = [*said.split(" ", 3), "", "", ""][:4]
            well = good == "True" and seconds.replace(".", "").isdigit() and float(seconds) < SECONDS
            survived += well
            if verbose or not well:
                print(f"{bad}: {said} ({time.monotonic() - began:.1f} s)", file=sys.stderr)
            subprocess.run(["rm", "-rf", run], check=True)
    print(f"received: {len(BAD)} tried, {survived} survived", flush=True)
    sys.exit(survived < len(BAD))


if __name__ == "__main__":
    main()

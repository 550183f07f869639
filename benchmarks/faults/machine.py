"""Devices that are not there, too little memory, places that cannot be written: one clear line for each.

    python benchmarks/faults/machine.py [-v]

Each case is a command in a process of its own. It survives where it ends with the exit code that is due, says what is
wrong in the words that are due, and shows no traceback. Prints how many were tried and how many survived.
"""

from __future__ import annotations

import gzip
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from kept import made, run_of
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parents[2]
RECIPE = """
name = "lm"
task = { kind = "language_model", max_length = 32, document = "line" }
data = { kind = "text", train = ["TEXT"], held_out = 0.1 }
tokenizer = { kind = "gpt2", vocab_size = 300 }
model = { kind = "gpt2", d_model = 16, n_heads = 2, n_layers = 1, max_length = 64 }
objective = { kind = "language_model" }
decode = { beam = 1, max_length = 4 }
train = { budget = { steps = 2 }, batch.tokens = 256, threads = 1, device = "cpu" }
"""
UNCACHED = """
import numba.core.caching as caching, sys
for kind in (caching.UserWideCacheLocator, caching.InTreeCacheLocator):
    kind.from_function = classmethod(lambda *found: None)
sys.argv = ["clew", *sys.argv[1:]]
from clew.__main__ import main
main()
"""


class Case(NamedTuple):
    """A command; what it must say and end with, and what surrounds it."""

    command: list[str]
    said: str
    code: int = 2
    environment: Mapping[str, str] = MappingProxyType({})
    limit: int = 0  # bytes of address space
    most: float = 0  # MB that it may take
    program: tuple[str, ...] = ("-m", "clew")


def cases(place: Path) -> Iterator[tuple[str, Case]]:
    """Yield each by its name, with what it needs in `place`."""
    words, rng = ["the", "mill", "by", "a", "river", "ran"], random.Random(1)
    (place / "text.txt").write_text("\n".join(" ".join(rng.choices(words, k=9)) for _ in range(300)))
    (place / "line.txt").write_text(" ".join(rng.choices(words, k=2_500_000)))
    with gzip.open(place / "zeros.txt.gz", "wb") as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    (place / "cut.txt.gz").write_bytes((place / "zeros.txt.gz").read_bytes()[:2000])
    (place / "lm.toml").write_text(RECIPE.replace("TEXT", str(place / "text.txt")))
    (place / "file").touch()

    def train(*more: str, out: str = "out") -> list[str]:
        return ["train", str(place / "lm.toml"), *more, "--out", str(place / out)]

    for device in ("cuda", "mps", "cuda:1", "xpu", "meta", "gpu", "cpu:x"):
        yield f"device {device}", Case(train(f"train.device={device}"), f'no device "{device}" here')
    run = run_of(made(place), place / "good")
    (run / "manifest.json").unlink()
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(recipe.replace('device = "cpu"', 'device = "cuda"'))
    there = "trained on cuda, which is not here: it runs on cpu"
    yield "a run of another device predicts", Case(["predict", str(run), "film 1"], there, 0)
    yield "a run of another device is measured", Case(["evaluate", str(run)], there, 0)
    wide = ["model.d_model=200000", "model.n_layers=8"]
    yield "a model larger than the memory", Case(train(*wide), "and the memory of this machine is")
    huge = ["train.batch.tokens=90000000", "task.max_length=60", "model.d_model=2048"]
    yield (
        "a batch larger than the memory",
        Case(
            train(*huge, f'data.train=["{place}/line.txt"]', out="big"), "there is not enough memory", 1, limit=5 << 30
        ),
    )
    weights = load_file(run / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] = torch.nan
    save_file(weights, run / "model.safetensors", {"format": "pt"})
    yield "weights that are no numbers", Case(["predict", str(run), "film 1"], "numbers that are not finite")
    for name, where in (("a file", str(place / "file")), ("nowhere", "/proc/nowhere")):
        yield f"the cache is {name}", Case(train(), "cannot be kept there", environment={"CLEW_CACHE": where})
    limit = {"CLEW_CACHE_GB": "much", "CLEW_CACHE": str(place / "another")}
    yield "a limit of the cache that is no number", Case(train(out="limit"), "CLEW_CACHE_GB", environment=limit)
    yield "the run is a file", Case(train(out="file"), "cannot write the run")
    yield "the run is within a file", Case(train(out="file/run"), "cannot write the run")
    yield "the run is where nothing can be written", Case([*train()[:-1], "/proc/run"], "cannot write the run")
    no_home = {"HOME": "/proc/nobody", "CLEW_CACHE": "", "XDG_CACHE_HOME": ""}
    yield "no home", Case(train(out="homeless"), "cannot be kept there", environment=no_home)
    yield (
        "compiled code can be kept nowhere",
        Case(train(out="uncached"), "compiled code can be kept nowhere", 0, program=("-c", UNCACHED)),
    )
    line = [f'data.train=["{place}/line.txt"]']
    yield "ten megabytes on a line", Case(train(*line, out="line"), "kept: step", 0, most=900)
    yield (
        "a bomb of zeros",
        Case(train(f'data.train=["{place}/zeros.txt.gz"]', out="packed"), "holds the byte 0", most=900),
    )
    yield "a compressed file cut short", Case(train(f'data.train=["{place}/cut.txt.gz"]', out="packed"), "cut.txt.gz")
    yield "an endless device", Case(train('data.train=["/dev/zero"]', out="device"), "/dev/zero")
    yield "an address of another machine", Case(["look", str(place), "--host", "192.0.2.1"], "cannot listen there")
    yield "a port that is none of ours", Case(["look", str(place), "--port", "70000"], "less than or equal to 65535")


def tried(case: Case, place: Path) -> str:
    """Run a case; return what went otherwise than it should."""
    environment = {**os.environ, "CLEW_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1", **case.environment}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE / "src"), os.environ.get("PYTHONPATH", "")])
    bound: Callable[[], None] | None = None
    if case.limit:
        bound = lambda: resource.setrlimit(resource.RLIMIT_AS, (case.limit, case.limit))  # noqa: E731
    process = subprocess.Popen(
        [sys.executable, *case.program, *case.command], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, preexec_fn=bound, cwd=place,
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    faults = [f"exit code {code}, not {case.code}"] if code != case.code else []
    faults += [f'it does not say "{case.said}"'] if case.said not in " ".join(said.split()) else []
    faults += ["a traceback"] if "Traceback" in said else []
    faults += [f"{usage.ru_maxrss / 1024:,.0f} MB"] if case.most and usage.ru_maxrss / 1024 > case.most else []
    return f"{', '.join(faults)}: {said.strip()[-400:]}" if faults else ""


def main() -> None:
    """Try all; print those that did not survive."""
    count = survived = 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for title, case in cases(place):
            fault = tried(case, place)
            count, survived = count + 1, survived + (not fault)
            if fault or "-v" in sys.argv:
                print(f"{title}: {fault or 'well'}", file=sys.stderr, flush=True)
    print(f"machine: {count} tried, {survived} survived", flush=True)
    sys.exit(survived < count)


if __name__ == "__main__":
    main()

"""Decoders beside their peers, in one run: training and writing, by CPU time, as ratios.

    python benchmarks/decoders.py                          # every peer installed in the folder $CLEW_PEERS
    python benchmarks/decoders.py --jobs write-small --only clew,huggingface --rounds 5

Each measurement is a process of its own, with the peer's own Python; every round runs each job's peers in a new
random order, so that what else the machine does falls on all alike. README.md says how to install the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parent / "peers"))
from decoder_common import SHAPES
from translation import find_python, hardware, list_versions, number

from clew.hub.decoders import config_to_hf, state_to_hf
from clew.models.gpt2 import GPT2, GPT2Config
from clew.tensor_file import save_file

HERE = Path(__file__).resolve().parent
TOKENS = "tokens_per_cpu_second"
JOBS = {
    "train-characters": "Training, 4 × 128, 12 rows of 64 characters: tokens per CPU-second",
    "train-words": "Training, 4 × 256, 8,000 words, 8 rows of 256: tokens per CPU-second",
    "write-small": "Writing 64 tokens, GPT-2 small (12 × 768), one text: tokens per CPU-second",
    "write-batch": "Writing 128 tokens, 4 × 256, 16 texts at once: tokens per CPU-second",
}
TRAIN, WRITE = tuple(JOBS)[:2], tuple(JOBS)[2:]


@dataclass(frozen=True)
class Peer:
    """What is measured: its adapter in peers/, its environment's folder, jobs, precisions."""

    title: str
    adapter: str
    environment: str
    jobs: tuple[str, ...]
    precisions: tuple[str, ...] = ("fp32", "bf16")


PEERS = {
    "clew": Peer("clew", "decoder_clew", "", tuple(JOBS), ("fp32", "bf16", "int8")),
    "trainer": Peer("HF Trainer", "decoder_huggingface", "huggingface", TRAIN),
    "loop": Peer("nanoGPT-style loop", "decoder_loop", "", TRAIN),
    "huggingface": Peer("HF generate", "decoder_huggingface", "huggingface", WRITE),
    "ctranslate2": Peer("CTranslate2", "decoder_ctranslate2", "huggingface", WRITE, ("fp32", "int8")),
}

# What is asked for: job, clew's precision, peer, its precision, ratio.
ASKED = [
    *((job, kind, peer, kind, ratio) for job in TRAIN for kind in ("fp32", "bf16")
      for peer, ratio in (("trainer", 2.0), ("loop", 1.2))),
    ("write-small", "bf16", "huggingface", "fp32", 1.3), ("write-small", "int8", "huggingface", "fp32", 2.2),
    ("write-batch", "fp32", "huggingface", "fp32", 3.0),
]  # fmt: skip


@dataclass
class Measured:
    """All rounds of one (job, peer, precision)."""

    job: str
    peer: str
    precision: str
    rounds: list[dict] = field(default_factory=list)
    failed: str = ""  # why there is no figure

    @property
    def title(self) -> str:
        return f"{PEERS[self.peer].title} {self.precision}"

    @property
    def values(self) -> list[float]:
        return [found[TOKENS] for found in self.rounds]


def prepare(folder: Path, jobs: list[str]) -> None:
    """A model with random weights for each job, as transformers keeps it, and random tokens to learn."""
    for job in jobs:
        vocab_size, n_layers, n_heads, d_model, positions, *_ = SHAPES[job]
        config = GPT2Config(n_layers=n_layers, n_heads=n_heads, d_model=d_model, max_length=positions, dropout=0.0)
        torch.manual_seed(1)
        model = GPT2(config, vocab_size)
        (folder / job).mkdir()
        (folder / job / "config.json").write_text(json.dumps(config_to_hf(model, 0)))
        save_file(state_to_hf(model), folder / job / "model.safetensors", {"format": "pt"})
        np.save(folder / f"{job}.npy", np.random.default_rng(1).integers(0, vocab_size, 200_000).astype(np.uint16))


def measure(python: str, one: Measured, data: Path, args: argparse.Namespace) -> str:
    """Run one adapter once and add its figure to `one.rounds`; returns what went wrong, or ""."""
    if one.precision == "bf16" and "no bf16" in hardware():
        return "not measured: this processor has no bf16 instructions"
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(args.threads)), "CUDA_VISIBLE_DEVICES": ""}
    steps = args.steps if one.job in TRAIN else args.texts
    with tempfile.TemporaryDirectory() as work:
        command = [
            python, "-W", "ignore", str(HERE / "peers" / f"{PEERS[one.peer].adapter}.py"), "--job", one.job,
            "--data", str(data), "--work", work, "--precision", one.precision, "--threads", str(args.threads),
            "--warmup", str(args.warmup), "--steps", str(steps),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=work, env=environment, capture_output=True, text=True, timeout=args.timeout
            )
        except subprocess.TimeoutExpired:
            return f"took longer than {args.timeout} s"
        results = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not results:
            return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
        result = json.loads(results[-1])
        if one.job in WRITE:
            result["written"] = np.load(f"{work}/written.npy")[0].tolist()
    one.rounds.append(result)
    return ""


def table(job: str, measured: list[Measured]) -> str:
    """Markdown: medians, their range over the rounds, how many times faster clew is, and how much is written alike."""
    mine = [one for one in measured if one.job == job]
    ours = [one for one in mine if one.peer == "clew" and one.rounds]
    head = ["", "tokens / CPU-s", "range", *(f"{one.title} is" for one in ours)]
    head += ["tokens as clew fp32 before the first other"] if job in WRITE else []
    lines, rows = [f"### {JOBS[job]}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"], []
    for one in mine:
        if not one.rounds:
            rows.append((0.0, f"| {one.title} | {one.failed or 'none'} |" + " |" * (len(head) - 2)))
            continue
        middle = median(one.values)
        cells = [one.title, number(middle), f"{number(min(one.values))}–{number(max(one.values))}"]
        cells += [f"{median(other.values) / middle:.2f}×" for other in ours]
        if job in WRITE:
            a, b = one.rounds[0]["written"], next((o.rounds[0]["written"] for o in ours if o.precision == "fp32"), [])
            cells += [str(next((n for n, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), len(b)))]
        rows.append((middle, "| " + " | ".join(cells) + " |"))
    return "\n".join([*lines, *(row for _, row in sorted(rows, reverse=True)), ""])


def asked(measured: list[Measured]) -> str:
    """What was asked for beside what was seen, as Markdown; only pairs that were measured."""
    found = {(one.job, one.peer, one.precision): median(one.values) for one in measured if one.rounds}
    lines = ["### Asked and seen", "", "| job | clew | against | asked | seen |", "|---|---|---|---|---|"]
    for job, kind, peer, precision, ratio in ASKED:
        if (job, "clew", kind) in found and (job, peer, precision) in found:
            seen = found[job, "clew", kind] / found[job, peer, precision]
            mark = "" if seen >= ratio else " (short)"
            lines.append(f"| {job} | {kind} | {PEERS[peer].title} {precision} | {ratio:.2g}× | {seen:.2f}×{mark} |")
    return "\n".join(lines) + "\n"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = {"type": lambda text: text.split(",")}
    parser.add_argument("--jobs", default=list(JOBS), help="of: " + ", ".join(JOBS), **listed)
    parser.add_argument("--only", default=list(PEERS), help="peers, of: " + ", ".join(PEERS), **listed)
    parser.add_argument("--precisions", default=["fp32", "bf16", "int8"], help="fp32,bf16,int8", **listed)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=5, help="optimizer steps before the clock starts")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps measured")
    parser.add_argument("--texts", type=int, default=3, help="times that a batch is written")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one measurement")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH", help="interpreter for a peer")
    parser.add_argument("--out", type=Path, default=Path("decoders-benchmark.json"))
    args = parser.parse_args()
    for given, known in ((args.jobs, JOBS), (args.only, PEERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{', '.join(unknown)}: none of {', '.join(known)}")
    return args


def main() -> None:
    args = parse_args()
    given = dict(pair.split("=", 1) for pair in args.python)
    pythons = {name: find_python(name, PEERS[name], given) for name in args.only}
    measured = [
        Measured(job, name, precision)
        for job in args.jobs for name, python in pythons.items() if python and job in PEERS[name].jobs
        for precision in PEERS[name].precisions
        if precision in args.precisions and (precision != "int8" or job in WRITE)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), args.jobs)
        for count in range(args.rounds):
            order = [one for one in measured if not one.failed]
            random.Random(count).shuffle(order)
            for one in sorted(order, key=lambda one: args.jobs.index(one.job)):  # what is compared runs close together
                start = time.perf_counter()
                one.failed = measure(str(pythons[one.peer]), one, Path(name), args)
                said, seconds = one.failed or number(one.values[-1]), time.perf_counter() - start
                print(f"round {count + 1}: {one.job}, {one.title} ({seconds:.0f} s) {said}", file=sys.stderr)
    versions = {PEERS[one.peer].title: one.rounds[0]["versions"] for one in measured if one.rounds}
    absent = [PEERS[name].title for name, python in pythons.items() if python is None]
    parts = [
        f"{args.threads} thread(s), {args.rounds} rounds, {args.warmup} + {args.steps} steps; {hardware()}.",
        "Versions: " + "; ".join(f"{name}: {list_versions(found)}" for name, found in versions.items()) + ".",
        "Not installed: " + (", ".join(absent) or "none") + ".",
        *(table(job, measured) for job in args.jobs), asked(measured),
    ]  # fmt: skip
    data = {"hardware": hardware(), "threads": args.threads, "measured": [asdict(one) for one in measured]}
    args.out.write_text(json.dumps(data, indent=1))
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()

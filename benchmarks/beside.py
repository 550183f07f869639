"""What the comparisons with peers share: processes in a random order, the median of rounds, and tables of ratios.

Each measurement is a process of its own, with the peer's own Python; every round runs each job's peers in a new
random order, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
Jobs = dict[str, tuple[str, tuple[str, ...]]]
"""Title and figures of each job."""


@dataclass(frozen=True)
class Peer:
    """What is measured: its adapter in peers/, its environment's folder, job → precisions, which of its ways."""

    title: str
    adapter: str
    environment: str
    jobs: Mapping[str, tuple[str, ...]]
    style: str = ""


@dataclass
class Measured:
    """All rounds of one (job, peer, precision)."""

    job: str
    peer: str
    precision: str
    title: str
    rounds: list[dict] = field(default_factory=list)
    failed: str = ""  # why there is no figure

    def values(self, figure: str) -> list[float]:
        return [result[figure] for result in self.rounds if figure in result]


@dataclass(frozen=True)
class Asked:
    """What clew is to reach in a job, in the fastest of these precisions."""

    job: str
    figure: str
    precisions: tuple[str, ...]
    peer: str
    precision: str
    ratio: float


Check = Callable[[Measured, dict, Path], str]
"""Looks at a result and its work folder, may add to the result; says why it does not count, or ""."""


def accept(one: Measured, result: dict, work: Path) -> str:
    return ""


@dataclass
class Comparison:
    """One run of a script: `jobs` of `peers` as `args` choose them, on what lies in `data`.

    labels: of figures in tables; times: figures of which less is faster. options: what an adapter is told besides.
    columns: further ones of a table, (title, cell), by job. emulated: measure bf16 where the processor lacks it.
    """

    args: argparse.Namespace
    about: str
    data: Path
    jobs: Jobs
    peers: dict[str, Peer]
    asked: Sequence[Asked]
    labels: dict[str, str]
    times: tuple[str, ...] = ()
    options: Callable[[Measured], Sequence[Any]] = lambda one: ()
    check: Check = accept
    columns: Callable[[str, list[Measured]], list[tuple[str, Callable[[Measured], str]]]] = lambda job, mine: []
    emulated: bool = False

    def __post_init__(self) -> None:
        given = dict(pair.split("=", 1) for pair in self.args.python)
        self.pythons = {name: find_python(name, self.peers[name], given) for name in self.args.only}
        self.measured = [
            Measured(job, name, precision, f"{self.peers[name].title} {precision}")
            for job in self.args.jobs for name, python in self.pythons.items() if python
            for precision in self.peers[name].jobs.get(job, ()) if precision in self.args.precisions
        ]  # fmt: skip

    def run(self) -> str:
        """Measure everything in every round; the report, which is written after each measurement, too."""
        report = ""
        for count in range(self.args.rounds):
            order = [one for one in self.measured if not one.failed]
            random.Random(count).shuffle(order)
            for one in sorted(order, key=lambda one: self.args.jobs.index(one.job)):  # what is compared runs close
                start = time.perf_counter()
                one.failed = self.measure(one)
                last = one.rounds[-1] if one.rounds else {}
                said = one.failed or " ".join(number(last[name]) for name in self.jobs[one.job][1] if name in last)
                label = f"round {count + 1}: {one.job}, {one.title}"
                print(f"{label} ({time.perf_counter() - start:.0f} s) {said}", file=sys.stderr, flush=True)
                report = self.report()
        return report

    def measure(self, one: Measured) -> str:
        """Run one adapter once and add its result to `one.rounds`; returns what went wrong, or ""."""
        if one.precision == "bf16" and "no bf16" in hardware() and not self.emulated:
            return "not measured: this processor has no bf16 instructions"
        peer, args = self.peers[one.peer], self.args
        with tempfile.TemporaryDirectory() as work:
            command = [
                str(self.pythons[one.peer]), "-W", "ignore", HERE / "peers" / f"{peer.adapter}.py", "--job", one.job,
                "--data", self.data, "--work", work, "--precision", one.precision, "--threads", args.threads,
                "--warmup", args.warmup, "--steps", args.steps, *self.options(one),
            ]  # fmt: skip
            command += [f"--style={peer.style}"] if peer.style else []
            try:
                done = subprocess.run(
                    [*map(str, command)], cwd=work, env=environment(args.threads), capture_output=True, text=True,
                    timeout=args.timeout,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return f"took longer than {args.timeout} s"
            results = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            if not results:
                return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
            result = json.loads(results[-1])
            reason = result.get("unsupported", "") or self.check(one, result, Path(work))
        if not reason:
            one.rounds.append(result)
        return reason

    def report(self) -> str:
        """Write the JSON and give the Markdown; a run cut short leaves its figures."""
        targets, args = self.seen(), self.args
        versions = {self.peers[one.peer].title: one.rounds[0]["versions"] for one in self.measured if one.rounds}
        absent = [self.peers[name].title for name, python in self.pythons.items() if python is None]
        settings = f"{args.threads} thread(s), {args.rounds} rounds, {args.warmup} + {args.steps} steps"
        data = {
            "about": self.about, "hardware": hardware(), "settings": settings, "versions": versions,
            "not_installed": absent, "measured": [asdict(one) for one in self.measured], "asked": targets,
        }  # fmt: skip
        args.out.write_text(json.dumps(data, indent=1))
        parts = [
            f"{self.about}; {settings}; {hardware()}.",
            "Versions: " + "; ".join(f"{name}: {list_versions(found)}" for name, found in versions.items()) + ".",
            "Not installed: " + (", ".join(absent) or "none") + ".",
            *(self.table(job) for job in args.jobs),
            "### Asked and seen\n\n" + markdown(
                ["job", "figure", "clew", "against", "asked", "seen"],
                [[*list(row.values())[:4], f"{row['asked']:.2g}×", f"{row['seen']:.2f}×{short(row)}"]
                 for row in targets]),
        ]  # fmt: skip
        return "\n\n".join(parts)

    def speed(self, figure: str, one: Measured) -> float:
        """Higher is faster: a time is turned round."""
        middle = median(one.values(figure))
        return 1 / middle if figure in self.times else middle

    def table(self, job: str) -> str:
        """Markdown: the median of each figure, its range over the rounds, and how many times faster clew is."""
        (title, figures), mine = self.jobs[job], [one for one in self.measured if one.job == job]
        ours = [one for one in mine if one.peer.startswith("clew") and one.rounds]
        memory = ("peak memory beyond imports, MB", lambda one: number(median(one.values("peak_mb"))))
        more, parts = [memory, *self.columns(job, mine)], [f"### {title}"]
        for figure in figures:
            head = ["", self.labels[figure], "range", *(f"{one.title} is" for one in ours), *(name for name, _ in more)]
            there = sorted((one for one in mine if one.values(figure)), key=lambda one: -self.speed(figure, one))
            rows = [
                [one.title, number(median(one.values(figure))),
                 "–".join(number(end(one.values(figure))) for end in (min, max)),
                 *(f"{self.speed(figure, other) / self.speed(figure, one):.2f}×" for other in ours),
                 *(cell(one) for _, cell in more)]
                for one in there
            ]  # fmt: skip
            rows += [
                [one.title, f"none: {one.failed or 'no figure that counts'}"] for one in mine if not one.values(figure)
            ]
            parts.append(markdown(head, rows))
        return "\n\n".join(parts)

    def seen(self) -> list[dict[str, Any]]:
        """What was asked for beside what was seen; only pairs that were measured."""
        found = {(one.job, one.peer, one.precision): one for one in self.measured if one.rounds}
        rows = []
        for goal in self.asked:
            ours = [found[goal.job, "clew", kind] for kind in goal.precisions if (goal.job, "clew", kind) in found]
            other = found.get((goal.job, goal.peer, goal.precision))
            if ours and other is not None and other.values(goal.figure):
                best = max(ours, key=lambda one: self.speed(goal.figure, one))
                ratio = self.speed(goal.figure, best) / self.speed(goal.figure, other)
                rows.append({
                    "job": goal.job, "figure": goal.figure, "clew": best.precision, "against": other.title,
                    "asked": goal.ratio, "seen": ratio,
                })  # fmt: skip
        return rows


def short(row: dict[str, Any]) -> str:
    return "" if row["seen"] >= row["asked"] else " (short)"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table; rows that lack cells at their end are filled up."""
    filled = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in (head, *filled)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def list_versions(found: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in found.items())


def find_python(name: str, peer: Peer, given: dict[str, str]) -> str | None:
    """The interpreter that has the peer: as given, in $CLEW_PEERS/<environment>, or this one; None: not installed."""
    if name in given:
        return given[name]
    if not peer.environment:
        return sys.executable
    python = Path(os.environ.get("CLEW_PEERS", "")) / peer.environment / "bin" / "python"
    return str(python) if "CLEW_PEERS" in os.environ and python.exists() else None


def environment(threads: int) -> dict[str, str]:
    """Of a measured process: so many threads, no GPU, no network, and this clew wherever it works."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {
        **os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": os.pathsep.join(paths),
        "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


def hardware() -> str:
    """Processor, cores, and whether it has the instructions that low precision needs."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = {name for line in info.splitlines() if line.startswith("flags") for name in line.split()}
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    have = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if name in flags]
    bf16 = "" if {"avx512_bf16", "amx_bf16"} & flags else "; no bf16 instructions"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {' '.join(have)}{bf16}"


def arguments(about: str | None, jobs: Jobs, peers: dict[str, Peer], *, warmup: int, steps: int, out: str) -> Any:
    """The parser of what all scripts are asked; each may add to it. `parse` checks what it reads."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed: dict[str, Any] = {"type": lambda text: text.split(",")}
    parser.add_argument("--jobs", default=list(jobs), help="of: " + ", ".join(jobs), **listed)
    parser.add_argument("--only", default=list(peers), help="peers, of: " + ", ".join(peers), **listed)
    parser.add_argument("--precisions", default=["fp32", "bf16", "int8"], help="fp32,bf16,int8", **listed)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=warmup, help="optimizer steps before the clock starts")
    parser.add_argument("--steps", type=int, default=steps, help="optimizer steps measured")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one measurement")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH", help="interpreter for a peer")
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser


def parse(parser: argparse.ArgumentParser, jobs: Jobs, peers: dict[str, Peer]) -> argparse.Namespace:
    args = parser.parse_args()
    for given, known in ((args.jobs, jobs), (args.only, peers)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{', '.join(unknown)}: none of {', '.join(known)}")
    return args

"""Translators beside their peers, in one run: training and decoding speed by CPU time, as medians and ratios.

    python benchmarks/translation.py                      # every peer installed in the folder $CLEW_PEERS
    python benchmarks/translation.py --jobs train --only clew,plain,fairseq --rounds 5

Each measurement is a process of its own, with the peer's own Python; every round runs each job's peers in a new
random order, so that what else the machine does falls on all alike. README.md says how to install the peers.
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from clew.config import TokenizerConfig
from clew.data.catalogue import Catalogue, CatalogueConfig
from clew.text.tokenizer import Tokenizer

HERE = Path(__file__).resolve().parent
TRAIN, LSTM, FEEDING, DECODE = "train", "train-lstm", "train-lstm-feeding", "decode"
TITLES = {
    TRAIN: "Training, Transformer 3+3 × 256: target tokens per CPU-second",
    LSTM: "Training, LSTM with additive attention: target tokens per CPU-second",
    FEEDING: "Training, the same with input feeding: target tokens per CPU-second",
    DECODE: "Decoding 15 tokens a sentence, Transformer",
}
FIGURES = {DECODE: ("greedy", "beam", "single")}  # every other job: tokens_per_cpu_second
LABELS = {
    "tokens_per_cpu_second": "tokens / CPU-s", "greedy": "greedy, 64 at once (sentences / CPU-s)",
    "beam": "beam 5, 64 at once (sentences / CPU-s)", "single": "greedy, one at a time (CPU-ms / sentence)",
}  # fmt: skip


@dataclass(frozen=True)
class Peer:
    """A toolkit to measure: its adapter in peers/, its environment's folder, and job → precisions it can do."""

    title: str
    adapter: str
    environment: str
    jobs: dict[str, tuple[str, ...]]


BOTH = ("fp32", "bf16")
PEERS = {
    "clew": Peer("clew", "clew_side", "", {TRAIN: BOTH, LSTM: BOTH, FEEDING: ("fp32",), DECODE: (*BOTH, "int8")}),
    "plain": Peer("plain nn.Transformer loop", "plain_torch", "", {TRAIN: BOTH, DECODE: BOTH}),
    "annotated": Peer("Annotated-Transformer style", "annotated", "", {TRAIN: ("fp32",), DECODE: ("fp32",)}),
    "tutorial": Peer("PyTorch-tutorial style GRU", "tutorial", "", {LSTM: ("fp32",)}),
    "huggingface": Peer("transformers Marian", "huggingface", "huggingface", {TRAIN: BOTH, DECODE: BOTH}),
    "fairseq": Peer("fairseq", "fairseq_nmt", "fairseq", {TRAIN: ("fp32",), DECODE: BOTH}),
    "opennmt": Peer("OpenNMT-py", "opennmt", "opennmt", dict.fromkeys((TRAIN, LSTM, FEEDING, DECODE), ("fp32",))),
    "eole": Peer("Eole", "eole_nmt", "eole", {TRAIN: BOTH, LSTM: ("fp32",), DECODE: BOTH}),
    "joey": Peer("JoeyNMT", "joey", "joeynmt", dict.fromkeys((TRAIN, LSTM, FEEDING, DECODE), ("fp32",))),
    "ctranslate2": Peer("CTranslate2", "ctranslate", "huggingface", {DECODE: ("fp32", "int8")}),
}

# What clew is to reach: (job, figure, precisions of clew of which the fastest counts, peer, its precision, ratio)
ANY = ("fp32", "bf16")
ASKED: list[tuple[str, str, tuple[str, ...], str, str, float]] = [
    *((TRAIN, "tokens_per_cpu_second", ANY, peer, "fp32", 2.0) for peer in ("fairseq", "eole", "opennmt", "plain")),
    (TRAIN, "tokens_per_cpu_second", ANY, "eole", "bf16", 1.3),
    (TRAIN, "tokens_per_cpu_second", ANY, "huggingface", "bf16", 1.8),
    (TRAIN, "tokens_per_cpu_second", ANY, "joey", "fp32", 5.0),
    (LSTM, "tokens_per_cpu_second", ANY, "opennmt", "fp32", 2.0),
    (LSTM, "tokens_per_cpu_second", ANY, "tutorial", "fp32", 4.0),
    (DECODE, "greedy", ANY, "huggingface", "fp32", 2.0),
    (DECODE, "greedy", ANY, "fairseq", "fp32", 1.4),
    (DECODE, "greedy", ANY, "joey", "fp32", 5.0),
    (DECODE, "beam", ANY, "fairseq", "fp32", 1.5),
    (DECODE, "beam", ANY, "joey", "fp32", 7.0),
    (DECODE, "single", ANY, "huggingface", "fp32", 1.4),
    *((DECODE, figure, ("int8",), "huggingface", "fp32", 3.0) for figure in FIGURES[DECODE]),
    *((DECODE, figure, ("int8",), "ctranslate2", "fp32", 1.0) for figure in ("greedy", "beam")),
    *((DECODE, figure, ("int8",), "ctranslate2", "int8", 1.0) for figure in FIGURES[DECODE]),
]


@dataclass
class Measured:
    """All rounds of one (job, peer, precision)."""

    job: str
    peer: str
    precision: str
    rounds: list[dict] = field(default_factory=list)
    failed: str = ""  # why there is no figure

    def values(self, figure: str) -> list[float]:
        return [result[figure] for result in self.rounds if figure in result]


def speed(figure: str, value: float) -> float:
    """Higher is faster: a time per sentence is turned round."""
    return 1 / value if figure == "single" else value


def encode_data(folder: Path, data: str | None) -> str:
    """Write train.jsonl, test.jsonl, meta.json: Multi30k German to English, in ids of 8,000 joint pieces."""
    source = Catalogue(CatalogueConfig(name="multi30k", folder=data, columns=("de", "en")))
    train, test = source.split("train"), source.split("test")
    tokenizer = Tokenizer.train([*train["de"], *train["en"]], TokenizerConfig(vocab_size=8000))
    for name, rows in (("train", train), ("test", test)):
        pairs = list(zip(tokenizer.encode(rows["de"]), tokenizer.encode(rows["en"]), strict=True))
        if name == "test":
            random.Random(1).shuffle(pairs)  # any first n of them are a fair sample
        lines = (json.dumps({"source": s, "target": t}) + "\n" for s, t in pairs if s and t)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "meta.json").write_text(json.dumps({"vocab_size": len(tokenizer)}))
    return f"Multi30k de→en, {len(train):,} pairs, {len(tokenizer):,} pieces"


def find_python(name: str, peer: Peer, given: dict[str, str]) -> str | None:
    """The interpreter that has the peer: as given, in $CLEW_PEERS/<environment>, or this one; None: not installed."""
    if name in given:
        return given[name]
    if not peer.environment:
        return sys.executable
    python = Path(os.environ.get("CLEW_PEERS", "")) / peer.environment / "bin" / "python"
    return str(python) if "CLEW_PEERS" in os.environ and python.exists() else None


def measure(python: str, peer: Peer, one: Measured, data: Path, args: argparse.Namespace) -> str:
    """Run one adapter once and add its figures to `one.rounds`; returns what went wrong, or ""."""
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as work:
        command = [
            python, "-W", "ignore", str(HERE / "peers" / f"{peer.adapter}.py"), "--job", one.job, "--data", str(data),
            "--work", work, "--precision", one.precision, "--threads", str(args.threads), "--warmup", str(args.warmup),
            "--steps", str(args.steps), "--sentences", args.sentences,
        ]  # fmt: skip
        environment = {**os.environ, **threads, "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
        try:
            done = subprocess.run(
                command, cwd=work, env=environment, capture_output=True, text=True, timeout=args.timeout
            )
        except subprocess.TimeoutExpired:
            return f"took longer than {args.timeout} s"
    results = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    result = json.loads(results[-1])
    if "unsupported" not in result:
        one.rounds.append(result)
    return result.get("unsupported", "")


def table(job: str, measured: list[Measured]) -> str:
    """Markdown: the median of each figure, its range over the rounds, and how many times faster clew is."""
    mine = [one for one in measured if one.job == job]
    ours = [one for one in mine if one.peer == "clew" and one.rounds]
    lines = [f"### {TITLES[job]}", ""]
    for figure in FIGURES.get(job, ("tokens_per_cpu_second",)):
        head = ["", LABELS[figure], "range", *(f"clew {one.precision} is" for one in ours)]
        lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        rows = []
        for one in mine:
            values, name = one.values(figure), f"{PEERS[one.peer].title} {one.precision}"
            if not values:
                lengths = one.values(f"{figure}_length")
                wrote = f"wrote {lengths[0]:.1f} tokens a sentence, not 15" if lengths else "no such search"
                reason = one.failed or wrote
                rows.append((0.0, f"| {name} | none: {reason} |" + " |" * (len(head) - 2)))
                continue
            middle = median(values)
            cells = [name, number(middle), f"{number(min(values))}–{number(max(values))}"]
            for other in ours:
                cells.append(f"{speed(figure, median(other.values(figure))) / speed(figure, middle):.2f}×")
            rows.append((speed(figure, middle), "| " + " | ".join(cells) + " |"))
        lines += [row for _, row in sorted(rows, reverse=True)] + [""]
    return "\n".join(lines)


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def asked(measured: list[Measured]) -> tuple[str, list[dict]]:
    """What was asked for beside what was seen, as Markdown and as data; only pairs that were measured."""
    found = {(one.job, one.peer, one.precision): one for one in measured if one.rounds}
    lines = ["### Asked and seen", "", "| job | figure | clew | against | asked | seen |", "|---|---|---|---|---|---|"]
    data = []
    for job, figure, precisions, peer, precision, ratio in ASKED:
        ours = [found[job, "clew", p] for p in precisions if (job, "clew", p) in found]
        other = found.get((job, peer, precision))
        if not ours or other is None or not other.values(figure):
            continue
        best = max(ours, key=lambda one: speed(figure, median(one.values(figure))))
        seen = speed(figure, median(best.values(figure))) / speed(figure, median(other.values(figure)))
        against = f"{PEERS[peer].title} {precision}"
        mark = "" if seen >= ratio else " (short)"
        lines.append(f"| {job} | {figure} | {best.precision} | {against} | {ratio:g}× | {seen:.2f}×{mark} |")
        data.append(
            {"job": job, "figure": figure, "clew": best.precision, "against": against, "asked": ratio, "seen": seen}
        )
    return "\n".join(lines) + "\n", data


def hardware() -> str:
    """Processor, cores, and whether it has the instructions that low precision needs."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = {name for line in info.splitlines() if line.startswith("flags") for name in line.split()}
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    have = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if name in flags]
    bf16 = "" if {"avx512_bf16", "amx_bf16"} & flags else "; no bf16 instructions"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {' '.join(have)}{bf16}"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--jobs", type=lambda text: text.split(","), default=list(TITLES), help="of: " + ", ".join(TITLES)
    )
    parser.add_argument("--only", default=",".join(PEERS), help="peers, of: " + ", ".join(PEERS))
    parser.add_argument("--precisions", default="fp32,bf16,int8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=2, help="optimizer steps before the clock starts")
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps measured")
    parser.add_argument("--sentences", default="greedy=512,beam=128,single=50")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one measurement")
    parser.add_argument("--data", help="folder of Multi30k; default: where `clew data` finds it")
    parser.add_argument(
        "--python", action="append", default=[], metavar="PEER=PATH", help="interpreter that has the peer"
    )
    parser.add_argument("--out", type=Path, default=Path("translation-benchmark.json"))
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    given = dict(pair.split("=", 1) for pair in args.python)
    pythons = {name: find_python(name, PEERS[name], given) for name in args.only.split(",")}
    absent = [PEERS[name].title for name, python in pythons.items() if python is None]
    measured = [
        Measured(job, name, precision)
        for job in args.jobs
        for name, python in pythons.items()
        if python
        for precision in PEERS[name].jobs.get(job, ())
        if precision in args.precisions.split(",")
    ]
    with tempfile.TemporaryDirectory() as folder:
        about = encode_data(Path(folder), args.data)
        for number_of_round in range(args.rounds):
            order = [one for one in measured if not one.failed]
            random.Random(number_of_round).shuffle(order)
            for one in sorted(order, key=lambda one: args.jobs.index(one.job)):  # what is compared runs close together
                start = time.perf_counter()
                one.failed = measure(str(pythons[one.peer]), PEERS[one.peer], one, Path(folder), args)
                label = f"round {number_of_round + 1}: {one.job}, {PEERS[one.peer].title} {one.precision}"
                print(f"{label} ({time.perf_counter() - start:.0f} s) {one.failed}", file=sys.stderr, flush=True)
                write(args, about, absent, measured)
    print(write(args, about, absent, measured))


def list_versions(found: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in found.items())


def write(args: argparse.Namespace, about: str, absent: list[str], measured: list[Measured]) -> str:
    """Write the JSON and give the Markdown; called after every measurement, so that a run cut short leaves figures."""
    targets, seen = asked(measured)
    versions = {PEERS[one.peer].title: one.rounds[0]["versions"] for one in measured if one.rounds}
    parts = [
        f"{about}; {args.threads} thread(s), {args.rounds} rounds, {args.warmup} + {args.steps} steps; {hardware()}.",
        "Versions: " + "; ".join(f"{name}: {list_versions(found)}" for name, found in versions.items()) + ".",
        "Not installed: " + (", ".join(absent) or "none") + ".",
        *(table(job, measured) for job in args.jobs),
        targets,
    ]
    data = {
        "about": about, "hardware": hardware(), "threads": args.threads, "steps": args.steps,
        "sentences": args.sentences,
        "versions": versions, "not_installed": absent, "measured": [asdict(one) for one in measured], "asked": seen,
    }  # fmt: skip
    args.out.write_text(json.dumps(data, indent=1))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()

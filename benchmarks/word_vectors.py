"""Word vectors beside their peers, in one run: speed by CPU time, time from text to vectors, memory, quality.

    python benchmarks/word_vectors.py                       # every peer found in the folder $CLEW_PEERS
    python benchmarks/word_vectors.py --megabytes 10 --jobs sgns-100 --only clew,gensim --rounds 1
    python benchmarks/word_vectors.py --jobs quality-100 --epochs 5 --rounds 3      # rounds are seeds

Each measurement is a process of its own on the same text; every round runs each job's peers in a new random order, so
that what else the machine does falls on all alike. README.md says what is measured and how to install the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

# Only the standard library: a process begins with the memory peak of the one that starts it.
sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
from vector_programs import SETTINGS, Clew, FastTextProgram, Gensim, GloVe, Step, Task, Word2VecC, result
from wikipedia_text import find_data, lines_of, repeat, write_text

HERE = Path(__file__).resolve().parent
SPEED, WALL, CPU, PEAK = "words_per_cpu_second", "wall_seconds", "cpu_seconds", "peak_mb"
VOCABULARY, EPOCHS = "vocabulary_seconds", "epochs_cpu_seconds"
SCORES = {
    "wordsim353_all": "WordSim-353", "simlex999": "SimLex-999", "men3000": "MEN", "rareword2034": "RareWords",
    "ap_categories": "AP categories, purity", "google_analogies": "analogies, %",
    "google_analogies_semantic": "semantic ones, %", "google_analogies_syntactic": "syntactic ones, %",
}  # fmt: skip
RUN = (SPEED, WALL, PEAK)
JOBS: dict[str, tuple[str, tuple[str, ...]]] = {  # title, figures
    "vocabulary": ("Counting words", (VOCABULARY, PEAK)),
    "sgns-100": ("Skip-gram, 100 wide", RUN),
    "sgns-300": ("Skip-gram, 300 wide", RUN),
    "cbow-100": ("CBOW, 100 wide", RUN),
    "subword-100": ("Skip-gram with character n-grams, 100 wide", RUN),
    "glove-100": ("GloVe, 100 wide", (EPOCHS, CPU, WALL, PEAK)),
    "scale-100": ("Skip-gram, 100 wide, on the text over and over", (*RUN, CPU)),
    "quality-100": ("Quality of skip-gram, 100 wide", (SPEED, *SCORES)),
    "quality-300": ("Quality of skip-gram, 300 wide", (SPEED, *SCORES)),
    "quality-subword-100": ("Quality of n-grams, 100 wide", (SPEED, *SCORES)),
}
LABELS = {
    SPEED: "raw words / CPU-s of training", WALL: "text to vectors, wall s", CPU: "text to vectors, CPU-s",
    PEAK: "peak memory, MB", VOCABULARY: "CPU-s", EPOCHS: "the epochs alone, CPU-s", **SCORES,
}  # fmt: skip
LESS_IS_BETTER = (WALL, CPU, PEAK, VOCABULARY, EPOCHS)


@dataclass(frozen=True)
class Peer:
    """A maker of word vectors: how it is run, what must be there below $CLEW_PEERS, and the jobs it can do."""

    title: str
    system: Any
    needs: str
    jobs: tuple[str, ...]


SKIPGRAM = ("sgns-100", "sgns-300")
QUALITY = tuple(job for job in JOBS if job.startswith("quality"))
SCALE = "scale-100"
WORD2VEC = ("vocabulary", *SKIPGRAM, "cbow-100")
PEERS = {
    "clew": Peer("clew", Clew(), "", tuple(JOBS)),
    "clew-cold": Peer("clew, first start ever", Clew(cold=True), "", ("vocabulary", "sgns-100")),
    "clew-once": Peer("clew, the text once", Clew(), "", (SCALE,)),
    "clew-pairs": Peer(
        "clew, negatives of each pair", Clew(share=False), "", (*SKIPGRAM, "quality-100", "quality-300")
    ),
    "gensim": Peer("gensim", Gensim(), "gensim/bin/python", (*WORD2VEC, "subword-100", *QUALITY)),
    "word2vec": Peer("word2vec.c", Word2VecC(), "word2vec/word2vec", WORD2VEC),
    "fasttext": Peer("fastText", FastTextProgram(), "fastText/fasttext", (*WORD2VEC, "subword-100")),
    "glove": Peer("GloVe", GloVe(), "GloVe/build/glove", ("vocabulary", "glove-100")),
}

# What clew is to reach: (job, figure, peer, how many times better).
ASKED = [
    ("sgns-100", SPEED, "gensim", 8.0), ("sgns-300", SPEED, "gensim", 6.0), ("cbow-100", SPEED, "gensim", 4.0),
    ("subword-100", SPEED, "fasttext", 10.0), ("glove-100", EPOCHS, "glove", 2.0),
    ("vocabulary", VOCABULARY, "gensim", 2.0),
    *((job, WALL, "gensim", 4.0) for job in SKIPGRAM), *((job, PEAK, "gensim", 1.0) for job in SKIPGRAM),
]  # fmt: skip


@dataclass
class Measured:
    """All rounds of one (job, peer, number of threads)."""

    job: str
    peer: str
    threads: int
    rounds: list[dict[str, float]] = field(default_factory=list)
    failed: str = ""  # why there is no figure

    @property
    def title(self) -> str:
        return PEERS[self.peer].title + (f", {self.threads} threads" if self.threads > 1 else "")

    def middle(self, figure: str) -> float | None:
        values = self.values(figure)
        return median(values) if values else None

    def values(self, figure: str) -> list[float]:
        return [found[figure] for found in self.rounds if figure in found]


def text_of(one: Measured) -> str:
    """Which text a measurement is on: "text" as it is written, "plain", or "repeated"."""
    return "plain" if one.job in QUALITY else "repeated" if one.job == SCALE and one.peer == "clew" else "text"


def write_texts(measured: list[Measured], folder: Path, data: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The path and the number of words of each text that is needed."""
    texts, wanted = {}, {text_of(one) for one in measured}
    for name in ("text", "plain"):
        if name in wanted or (name == "text" and "repeated" in wanted):
            path = folder / f"{name}.txt"
            texts[name] = path, write_text(path, lines_of(data, args.megabytes), name == "plain")
    if "repeated" in wanted:
        once, words = texts["text"]
        path = folder / "repeated.txt"
        texts["repeated"] = path, words * repeat(path, once, args.scale_megabytes)
    return texts


def run(step: Step, work: Path, threads: int, timeout: float) -> None:
    """Run one process to its end and read what it used. Raises RuntimeError with its last line where it fails."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), "CUDA_VISIBLE_DEVICES": "", **step.environment}
    log = work / "output.txt"
    with open(step.stdin or os.devnull, "rb") as stdin, log.open("wb") as output, \
            open(step.stdout or os.devnull, "wb") as stdout:  # fmt: skip
        start = time.perf_counter()
        process = subprocess.Popen(
            step.command, cwd=work, env=environment, stdin=stdin, stdout=stdout if step.stdout else output,
            stderr=subprocess.STDOUT if not step.stdout else output,
        )  # fmt: skip
        watchdog = threading.Timer(timeout, process.kill)
        watchdog.start()
        _, status, usage = os.wait4(process.pid, 0)
        step.wall = time.perf_counter() - start
        watchdog.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    step.cpu = usage.ru_utime + usage.ru_stime
    step.peak_mb = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)  # bytes there, KiB elsewhere
    step.output = log.read_text(errors="replace").replace("\r", "\n")
    if process.returncode:
        reason = f"took longer than {timeout} s" if step.wall >= timeout else f"exit code {process.returncode}"
        said = [line for line in step.output.splitlines() if line.strip()]
        raise RuntimeError(": ".join([reason, *said[-1:]])[:300])


def measure(one: Measured, task: Task, args: argparse.Namespace, data: Path) -> str:
    """Run one peer once and add its figures to `one.rounds`; returns what went wrong, or ""."""
    system = PEERS[one.peer].system
    try:
        steps: list[Step] = system.steps(task)
        for step in steps:
            run(step, task.work, task.threads, args.timeout)
        counted = [step for step in steps if step.counted]
        figures = system.figures(task, steps)
        figures |= {
            WALL: sum(step.wall for step in counted), CPU: sum(step.cpu for step in counted),
            PEAK: max(step.peak_mb for step in counted),
        }  # fmt: skip
        if one.job in QUALITY:
            judge = [sys.executable, str(HERE / "peers" / "judge_vectors.py"), system.vectors, str(data)]
            run(step := Step(judge), task.work, 1, args.timeout)
            figures |= result(step)
    except (RuntimeError, OSError, IndexError, KeyError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    one.rounds.append(figures)
    return ""


def work_of(job: str) -> tuple[str, int]:
    """The method and width that a job's name says."""
    if job in QUALITY:
        job = job.removeprefix("quality-") if job.count("-") > 1 else job.replace("quality", "sgns")
    method, _, dim = job.replace("scale", "sgns").partition("-")
    return method, int(dim or 0)


def kinds() -> set[str]:
    """What recipes of this version know, as section.kind."""
    code = "from clew.config import KINDS; print(*(f'{s}.{k}' for s in KINDS for k in KINDS[s]))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def plan(args: argparse.Namespace) -> tuple[list[Measured], list[str]]:
    """What to measure, and what cannot be here."""
    known, measured, absent = kinds(), [], []
    folder = os.environ.get("CLEW_PEERS", "")
    for name in args.only:
        peer = PEERS[name]
        if peer.needs and not (folder and (Path(folder) / peer.needs).exists()):
            absent.append(peer.title)
            continue
        for job in args.jobs:
            if job == "glove-100" and name == "clew" and "model.glove" not in known:
                absent.append("GloVe in clew")
            elif job in peer.jobs:
                measured += [Measured(job, name, threads) for threads in args.threads]
    return measured, absent


def better(figure: str, ours: float, theirs: float) -> float:
    """How many times better ours is."""
    return theirs / ours if figure in LESS_IS_BETTER else ours / theirs


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def table(job: str, measured: list[Measured]) -> str:
    """Markdown: the median of each figure, its range over the rounds, and how many times better clew is."""
    title, figures = JOBS[job]
    mine = [one for one in measured if one.job == job]
    lines = [f"### {title} (`{job}`)", ""]
    for figure in figures:
        ratio = figure not in SCORES
        head = ["", LABELS[figure], "range", *(["clew is"] if ratio else [])]
        lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for one in mine:
            values, middle = one.values(figure), one.middle(figure)
            if middle is None:
                lines.append(f"| {one.title} | none: {one.failed or 'not reported'} |" + " |" * (len(head) - 2))
                continue
            cells = [one.title, number(middle), f"{number(min(values))}–{number(max(values))}"]
            ours = [other.middle(figure) for other in mine if other.peer == "clew" and other.threads == one.threads]
            if ratio:
                cells.append(f"{better(figure, ours[0], middle):.2f}×" if ours and ours[0] else "")
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def asked(measured: list[Measured]) -> tuple[str, list[dict[str, Any]]]:
    """What was asked for beside what was seen, as Markdown and as data; only pairs that were measured."""
    found = {(one.job, one.peer, one.threads): one for one in measured if one.rounds}
    lines = ["### Asked and seen", "", "| job | figure | threads | against | asked | seen |", "|---" * 6 + "|"]
    data = []
    for job, figure, peer, ratio in ASKED:
        for threads in sorted({one.threads for one in measured}):
            ours, other = found.get((job, "clew", threads)), found.get((job, peer, threads))
            if not ours or not other or not ours.middle(figure) or not other.middle(figure):
                continue
            seen = better(figure, ours.middle(figure), other.middle(figure))
            mark = "" if seen >= ratio else " (short)"
            against = PEERS[peer].title
            lines.append(f"| {job} | {LABELS[figure]} | {threads} | {against} | {ratio:g}× | {seen:.2f}×{mark} |")
            data.append(
                {"job": job, "figure": figure, "threads": threads, "against": against, "asked": ratio, "seen": seen}
            )
    return "\n".join(lines) + "\n", data


def scaling(measured: list[Measured]) -> str:
    """How many times faster more threads train than one: by the clock, and by CPU time with as many cores to itself."""
    found = {(one.job, one.peer, one.threads): one for one in measured if one.middle(SPEED)}
    pairs = [(one, found[one.job, one.peer, 1]) for one in found.values()
             if one.threads > 1 and (one.job, one.peer, 1) in found]  # fmt: skip
    if not pairs:
        return ""
    lines = ["### Threads", "", "| job | | threads | by the clock | by CPU time |", "|---" * 5 + "|"]
    for many, one in pairs:
        clock = [x.middle("words_per_second") for x in (many, one)]
        by_clock = f"{clock[0] / clock[1]:.2f}×" if clock[0] and clock[1] else ""
        by_cpu = many.threads * many.middle(SPEED) / one.middle(SPEED)
        lines.append(f"| {one.job} | {one.title} | {many.threads} | {by_clock} | {by_cpu:.2f}× |")
    return "\n".join(lines) + "\n"


def hardware() -> str:
    """Processor, cores, and the vector instructions that matter here."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = {name for line in info.splitlines() if line.startswith("flags") for name in line.split()}
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    have = " ".join(name for name in ("avx2", "fma", "avx512f") if name in flags)
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {have}"


def write(args: argparse.Namespace, about: str, absent: list[str], measured: list[Measured]) -> str:
    """Write the JSON and give the Markdown; called after every measurement, so that a run cut short leaves figures."""
    targets, seen = asked(measured)
    parts = [
        f"{about}; {args.epochs} epoch(s), {args.rounds} rounds; {hardware()}, load {os.getloadavg()[0]:.1f}.",
        "Not installed: " + (", ".join(absent) or "none") + ".",
        *(table(job, measured) for job in args.jobs), scaling(measured), targets,
    ]  # fmt: skip
    data = {
        "about": about, "hardware": hardware(), "epochs": args.epochs, "settings": SETTINGS, "not_installed": absent,
        "measured": [asdict(one) for one in measured], "asked": seen,
    }  # fmt: skip
    args.out.write_text(json.dumps(data, indent=1))
    return "\n\n".join(part for part in parts if part)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = {"type": lambda text: text.split(",")}
    parser.add_argument(
        "--jobs", default=[j for j in JOBS if j not in (*QUALITY, SCALE)], help=", ".join(JOBS), **listed
    )
    parser.add_argument("--only", default=list(PEERS), help="peers, of: " + ", ".join(PEERS), **listed)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument(
        "--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1], help="1, 2 or 1,2"
    )
    parser.add_argument("--megabytes", type=float, help="of the text; default: all")
    parser.add_argument("--scale-megabytes", type=float, default=1050, help="of the repeated text")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds for one process")
    parser.add_argument(
        "--data", help="folder of wikipedia_en, word_similarity and word_analogy; default: as `clew data`"
    )
    parser.add_argument("--out", type=Path, default=Path("word-vectors-benchmark.json"))
    args = parser.parse_args()
    for given, known in ((args.jobs, JOBS), (args.only, PEERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{', '.join(unknown)}: none of {', '.join(known)}")
    return args


def main() -> None:
    args = parse_args()
    measured, absent = plan(args)
    data = find_data(args.data).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = write_texts(measured, folder, data, args)
        about = "; ".join(
            f"{path.stat().st_size / 1e6:.1f} MB, {words:,} words ({path.stem})" for path, words in texts.values()
        )
        for count in range(args.rounds):
            order = [one for one in measured if not one.failed]
            random.Random(count).shuffle(order)
            for one in sorted(order, key=lambda one: args.jobs.index(one.job)):  # what is compared runs close together
                path, words = texts[text_of(one)]
                work = folder / "work"
                work.mkdir()
                task = Task(
                    *work_of(one.job), path, words, work, args.epochs, one.threads, seed=count + 1,
                    programs=Path(os.environ.get("CLEW_PEERS", "")),
                )  # fmt: skip
                one.failed = measure(one, task, args, data)
                shutil.rmtree(work)
                said = one.failed or ", ".join(f"{key} {number(x)}" for key, x in one.rounds[-1].items())
                print(f"round {count + 1}: {one.job}, {one.title}: {said}", file=sys.stderr, flush=True)
                write(args, about, absent, measured)
    print(write(args, about, absent, measured))


if __name__ == "__main__":
    main()

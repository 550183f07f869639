"""What every adapter shares: its command line, the id files, the meters and the one result line.

An adapter is run by `translation.py` with its peer's own Python, so this file needs only torch and the standard
library. Speed is counted by the CPU time of the process, over all its threads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

PAD, BOS, EOS, UNK = 0, 1, 2, 3
D_MODEL, D_FF, N_HEADS, N_LAYERS = 256, 1024, 4, 3
DROPOUT, ATTENTION_DROPOUT = (
    0.1,
    0.0,
)  # without dropout of attention weights every toolkit that can takes its fused kernel
SMOOTHING, CLIP_NORM, LEARNING_RATE = 0.1, 1.0, 5e-4
BATCH_TOKENS = 4096
FORCED_LENGTH = 15  # tokens written per sentence: weights are untrained, so every peer must stop at the same place
BATCH_SIZE, BEAM = 64, 5

IMPORTED = 0.0  # MB that the process had held once everything was imported

Ids = list[list[int]]
JOBS = ("train", "train-lstm", "train-lstm-feeding", "decode")


@dataclass
class Job:
    """One measurement of one peer."""

    job: str  # one of JOBS
    data: Path  # train.jsonl, test.jsonl, meta.json
    work: Path  # an empty folder for what the peer writes
    precision: str  # fp32, bf16 or int8
    threads: int
    warmup: int  # optimizer steps before the clock starts
    steps: int  # optimizer steps measured
    modes: tuple[str, ...]  # decode: greedy, beam, single
    sentences: dict[str, int]  # decode: how many test sentences in each mode
    vocab_size: int

    def pairs(self, split: str) -> tuple[Ids, Ids]:
        """Encoded sentences without special tokens: (source, target)."""
        rows = [json.loads(line) for line in (self.data / f"{split}.jsonl").read_text().splitlines()]
        return [row["source"] for row in rows], [row["target"] for row in rows]

    def write_text(self, split: str) -> tuple[Path, Path]:
        """The same ids as text, "12 45 7", for peers that read only files of words."""
        paths = self.work / f"{split}.source", self.work / f"{split}.target"
        for path, sentences in zip(paths, self.pairs(split), strict=True):
            path.write_text("".join(" ".join(map(str, ids)) + "\n" for ids in sentences))
        return paths

    @property
    def words(self) -> list[str]:
        """The vocabulary of those texts: every ordinary id, as a word."""
        return [str(i) for i in range(UNK + 1, self.vocab_size)]


def peak() -> float:
    """The most memory that this process has held, in MB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e6 / 1024)  # bytes there, KiB elsewhere


def begin(n_threads: int) -> None:
    """Take the memory of imports, set the number of threads, seed."""
    global IMPORTED
    IMPORTED = peak()
    torch.set_num_threads(n_threads)
    torch.manual_seed(1)


def read_job() -> Job:
    """Parse the adapter's command line and `begin`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", choices=JOBS, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--modes", default="greedy,beam,single")
    parser.add_argument("--sentences", default="greedy=1000,beam=320,single=50")
    args = parser.parse_args()
    begin(args.threads)
    settings = vars(args)
    settings["modes"] = tuple(args.modes.split(","))
    settings["sentences"] = {name: int(n) for name, n in (part.split("=") for part in args.sentences.split(","))}
    settings["vocab_size"] = json.loads((args.data / "meta.json").read_text())["vocab_size"]
    sys.argv = sys.argv[:1]  # some peers parse the command line themselves
    return Job(**settings)


def report(*packages: str, **figures: Any) -> None:
    """Print the result line and leave at once: a peer's trainer would go on to save, validate or wait for workers."""
    versions = {name: version(name) for name in ("torch", *packages)}
    print("RESULT " + json.dumps({**figures, "peak_mb": peak() - IMPORTED, "versions": versions}), flush=True)
    os._exit(0)


def unsupported(reason: str) -> None:
    """Say that the peer has no such job or precision, and leave."""
    print("RESULT " + json.dumps({"unsupported": reason}), flush=True)
    os._exit(0)


class Meter:
    """Target tokens per CPU-second between two optimizer steps, whichever trainer makes them.

    The adapter calls `count` with the real target tokens (padding left out, </s> included) of every batch that is
    trained on; torch calls the hook after every optimizer step of whatever optimizer the peer has.
    """

    def __init__(self, job: Job, *packages: str) -> None:
        self.job, self.packages = job, packages
        self.n_steps = self.tokens = self.padded = 0
        self.start = 0.0
        register_optimizer_step_post_hook(self._after_step)

    def count(self, tokens: int, padded: int) -> None:
        """Add one batch: `padded` is the size of its target tensor."""
        self.tokens += int(tokens)
        self.padded += int(padded)

    def _after_step(self, *_: Any) -> None:
        self.n_steps += 1
        if self.n_steps == self.job.warmup:
            self.tokens = self.padded = 0
            self.start = time.process_time()
        elif self.n_steps == self.job.warmup + self.job.steps:
            seconds = time.process_time() - self.start
            report(
                *self.packages,
                tokens_per_cpu_second=self.tokens / seconds,
                tokens=self.tokens,
                fill=self.tokens / self.padded,
                steps=self.job.steps,
                cpu_seconds=seconds,
            )


def measure_decoding(job: Job, translate: Callable[[Ids, int, int], Ids], *packages: str) -> None:
    """Time `translate(sentences, beam, batch_size) -> output ids` on the test sentences and report.

    The first n sentences of the shuffled test set, sorted by length, as most toolkits do themselves.
    """
    sources, _ = job.pairs("test")
    figures: dict[str, float] = {}
    for mode in job.modes:
        beam, batch_size = {"greedy": (1, BATCH_SIZE), "beam": (BEAM, BATCH_SIZE), "single": (1, 1)}[mode]
        sentences = sorted(sources[: job.sentences[mode]], key=len)
        translate(sources[: min(4, batch_size)], beam, batch_size)  # warm-up
        start = time.process_time()
        outputs = translate(sentences, beam, batch_size)
        seconds = time.process_time() - start
        assert len(outputs) == len(sentences), f"{len(outputs)} outputs for {len(sentences)} sentences"
        figures[f"{mode}_length"] = sum(map(len, outputs)) / len(outputs)
        if figures[f"{mode}_length"] == FORCED_LENGTH:  # else it did other work than the rest
            figures[mode] = seconds / len(sentences) * 1000 if mode == "single" else len(sentences) / seconds
    report(*packages, **figures)


def chunks(sentences: Ids, size: int) -> list[Ids]:
    """Cut a list into lists of `size`."""
    return [sentences[i : i + size] for i in range(0, len(sentences), size)]


def pad(sentences: Ids, pad_id: int = PAD) -> torch.Tensor:
    """Stack id lists into (batch, longest), padded on the right."""
    width = max(map(len, sentences))
    return torch.tensor([[*ids, *[pad_id] * (width - len(ids))] for ids in sentences])

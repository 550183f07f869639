"""What every adapter of `encoders.py` shares: its command line, the encoded lines, sizes, the measure of encoding."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import begin, report

N_LAYERS, D_MODEL, N_HEADS, D_FF, MAX_LENGTH = 4, 256, 4, 1024, 512
DROPOUT, CLIP_NORM, LEARNING_RATE, MASKED = 0.1, 1.0, 5e-4, 0.15
BATCHES = {"pretrain-captions": 64, "pretrain-wikipedia": 32, "finetune": 32, "encode-small": 64, "encode-base": 32}
CLASSES = 3  # of the pairs
Ids = list[list[int]]


@dataclass
class Job:
    """One measurement of one peer."""

    job: str  # one of BATCHES
    data: Path  # what `encoders.py` wrote
    work: Path  # an empty folder for what the peer writes
    precision: str  # fp32, bf16 or int8
    style: str  # which way of the peer's, where it has several
    threads: int
    warmup: int  # optimizer steps before the clock starts
    steps: int  # optimizer steps measured

    @property
    def rows(self) -> list[dict]:
        """The lines of this job: {"input_ids": with [CLS] and [SEP], "first": tokens of segment 0, "label", "text"}."""
        return [json.loads(line) for line in (self.data / f"{self.job}.jsonl").read_text().splitlines()]

    @property
    def batch(self) -> int:
        """Lines per batch."""
        return BATCHES[self.job]

    @property
    def vocab_size(self) -> int:
        return json.loads((self.data / "meta.json").read_text())["vocab_size"]

    @property
    def folder(self) -> Path:
        """Of the model to encode with, as transformers keeps it; exports of it are kept there between rounds."""
        return self.data / self.job


def read_job() -> Job:
    """Parse the adapter's command line, set the number of threads, seed."""
    parser = argparse.ArgumentParser()
    for name in ("job", "precision", "style"):
        parser.add_argument(f"--{name}", default="")
    for name in ("data", "work"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("threads", "warmup", "steps"):
        parser.add_argument(f"--{name}", type=int, default=1)
    job = Job(**vars(parser.parse_args()))
    sys.argv = sys.argv[:1]
    begin(job.threads)
    return job


def pad(rows: Ids) -> tuple[torch.Tensor, torch.Tensor]:
    """ids (batch, longest) with 0 on the right, and the mask, 1 = a token."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, line in zip(ids, rows, strict=True):
        row[: len(line)] = torch.tensor(line)
    lengths = torch.tensor([len(line) for line in rows])
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean of the states of the real tokens: (batch, time, d), (batch, time) -> (batch, d)."""
    return (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def in_batches(encode: Callable[[Ids], np.ndarray], size: int, *, by_length: bool = True) -> Callable:
    """A function of all lines from one of a batch; the vectors come back in the order of the lines."""

    def all_lines(lines: Ids) -> np.ndarray:
        order = sorted(range(len(lines)), key=lambda i: len(lines[i])) if by_length else [*range(len(lines))]
        parts = [encode([lines[i] for i in order[start : start + size]]) for start in range(0, len(order), size)]
        out = np.empty((len(lines), parts[0].shape[1]), np.float32)
        out[order] = np.concatenate(parts)
        return out

    return all_lines


def measure_encoding(job: Job, encode: Callable, *packages: str, field: str = "input_ids") -> None:
    """Time `encode(lines) -> (lines, d)` on all lines after a batch to warm up, and report; keeps the vectors."""
    lines = [row[field] for row in job.rows]
    encode(lines[: job.batch])
    start = time.process_time()
    vectors = encode(lines)
    seconds = time.process_time() - start
    np.save(job.work / "vectors.npy", np.asarray(vectors, np.float32))
    report(*packages, sentences_per_cpu_second=len(lines) / seconds)

"""What every adapter of `decoders.py` shares: its command line, sizes, the tokens to learn, the measure of writing."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import begin, report

CLIP_NORM, LEARNING_RATE, PROMPT = 1.0, 1e-3, 16
SHAPES = {  # vocabulary, layers, heads, width, positions; rows of a batch; new tokens
    "train-characters": (65, 4, 4, 128, 64, 12, 0),
    "train-words": (8000, 4, 4, 256, 256, 8, 0),
    "write-small": (50257, 12, 12, 768, 1024, 1, 64),
    "write-batch": (8000, 4, 4, 256, 256, 16, 128),
}


@dataclass
class Job:
    """One measurement of one peer."""

    job: str  # one of SHAPES
    data: Path  # what `decoders.py` wrote: a model folder for each job, ids.npy for training
    work: Path  # an empty folder for what the peer writes
    precision: str  # fp32, bf16 or int8
    threads: int
    warmup: int  # optimizer steps before the clock starts
    steps: int  # optimizer steps measured; texts written

    def __post_init__(self) -> None:
        self.vocab_size, self.n_layers, self.n_heads, self.d_model, self.positions, self.batch, self.new = SHAPES[
            self.job
        ]

    @property
    def folder(self) -> Path:
        """Of the model, with random weights, as transformers keeps it."""
        return self.data / self.job

    @property
    def ids(self) -> np.ndarray:
        return np.load(self.data / f"{self.job}.npy")

    @property
    def prompts(self) -> torch.Tensor:
        """(batch, PROMPT)."""
        generator = torch.Generator().manual_seed(1)
        return torch.randint(4, self.vocab_size, (self.batch, PROMPT), generator=generator)


def read_job() -> Job:
    """Parse the adapter's command line, set the number of threads, seed."""
    parser = argparse.ArgumentParser()
    for name in ("job", "precision"):
        parser.add_argument(f"--{name}")
    for name in ("data", "work"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("threads", "warmup", "steps"):
        parser.add_argument(f"--{name}", type=int)
    job = Job(**vars(parser.parse_args()))
    sys.argv = sys.argv[:1]
    begin(job.threads)
    return job


def measure_writing(job: Job, write: Callable[[torch.Tensor], torch.Tensor], *packages: str) -> None:
    """Time `write(prompts (batch, PROMPT)) -> (batch, new)`, the likeliest tokens, after one round, and report."""
    prompts = job.prompts
    write(prompts)
    start = time.process_time()
    for _ in range(job.steps):
        out = write(prompts)
    seconds = time.process_time() - start
    assert out.shape == (job.batch, job.new), out.shape
    np.save(job.work / "written.npy", out.numpy())
    report(*packages, tokens_per_cpu_second=job.steps * out.numel() / seconds)

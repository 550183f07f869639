"""clew's decoder: its training loop on its own batches, and its writing."""

from __future__ import annotations

import json
from itertools import islice

import torch
from clew_counted import Counted
from common import Meter
from decoder_common import CLIP_NORM, LEARNING_RATE, Job, measure_writing, read_job
from safetensors.torch import load_file

from clew.config import BatchConfig, BudgetConfig, SampleConfig
from clew.data.blocks import BlockLoader
from clew.data.documents import Documents
from clew.decode.sample import sample
from clew.decode.writer import writer
from clew.hub.decoders import DecoderAdapter
from clew.inputs import Tokens
from clew.models.gpt2 import GPT2
from clew.objectives.language_model import LanguageModel, LanguageModelConfig
from clew.train.loop import fit
from clew.train.optim import AdamW


def load(job: Job) -> GPT2:
    found = DecoderAdapter(GPT2)
    config = found.config_from_hf(json.loads((job.folder / "config.json").read_text()), str(job.folder))
    model = GPT2(config, Tokens(job.vocab_size))
    found.fill(model, load_file(job.folder / "model.safetensors"), str(job.folder))
    return model


def train(job: Job) -> None:
    ids = job.ids
    documents = Documents(ids, torch.tensor([0, len(ids)]).numpy(), torch.tensor([0, 1]).numpy())
    batches = BlockLoader(documents, job.positions, batch=BatchConfig(examples=job.batch), seed=1)
    meter = Meter(job)
    counted = Counted(
        LanguageModel(LanguageModelConfig()), lambda batch: meter.count(batch.target.numel(), batch.target.numel())
    )
    model = load(job)
    optimizer = AdamW(AdamW.Config(lr=LEARNING_RATE, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1))(model)
    steps = fit(
        model, counted, batches, optimizer, lambda step, done: 1.0,
        BudgetConfig(steps=job.warmup + job.steps), clip_norm=CLIP_NORM, precision=job.precision,
    )  # fmt: skip
    for _ in steps:
        pass


def write(job: Job) -> None:
    model = writer(load(job), job.precision)
    how = SampleConfig(temperature=0)

    def tokens(prompts: torch.Tensor) -> torch.Tensor:
        steps = islice(sample(model, prompts.tolist(), how, steps=job.new), job.new)
        return torch.stack([token for token, _ in steps], dim=1)

    measure_writing(job, tokens)


if __name__ == "__main__":
    job = read_job()
    train(job) if job.job.startswith("train") else write(job)

"""The Transformer in The Annotated Transformer's style: attention from matrix products, KL loss on smoothed targets."""

from __future__ import annotations

import copy
import math

import common
import torch
from common import Ids, Job, Meter, chunks, measure_decoding, pad, read_job, unsupported
from plain_torch import batches
from torch import Tensor, nn


class LayerNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(common.D_MODEL)), nn.Parameter(torch.zeros(common.D_MODEL))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + self.bias


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(common.D_MODEL, common.D_MODEL) for _ in range(4))
        self.dropout = nn.Dropout(common.DROPOUT)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        inputs = zip(self.projections, (query, memory, memory), strict=False)
        q, k, v = (
            f(x).view(len(x), -1, common.N_HEADS, common.D_MODEL // common.N_HEADS).transpose(1, 2) for f, x in inputs
        )
        scores = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).masked_fill(~mask.unsqueeze(1), -1e9)
        context = self.dropout(scores.softmax(-1)) @ v
        return self.projections[-1](context.transpose(1, 2).reshape(len(query), -1, common.D_MODEL))


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.dropout = (
            nn.Linear(common.D_MODEL, common.D_FF),
            nn.Linear(common.D_FF, common.D_MODEL),
            nn.Dropout(common.DROPOUT),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.dropout(self.inner(x).relu()))


class Layer(nn.Module):
    """Pre-norm sublayers with residual connections; a decoder layer also attends to the source."""

    def __init__(self, crossing: bool) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(), FeedForward()
        self.cross = Attention() if crossing else None
        self.norms = nn.ModuleList(LayerNorm() for _ in range(3 if crossing else 2))
        self.dropout = nn.Dropout(common.DROPOUT)

    def forward(
        self, x: Tensor, mask: Tensor, memory: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        y = self.norms[0](x)
        x = x + self.dropout(self.attention(y, y, mask))
        if self.cross is not None:
            x = x + self.dropout(self.cross(self.norms[2](x), memory, memory_mask))
        return x + self.dropout(self.feed_forward(self.norms[1](x)))


class Translator(nn.Module):
    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, common.D_MODEL)
        nn.init.normal_(self.embedding.weight, std=common.D_MODEL**-0.5)
        self.encoder = nn.ModuleList(copy.deepcopy(Layer(False)) for _ in range(common.N_LAYERS))
        self.decoder = nn.ModuleList(copy.deepcopy(Layer(True)) for _ in range(common.N_LAYERS))
        self.norm_source, self.norm_target, self.dropout = LayerNorm(), LayerNorm(), nn.Dropout(common.DROPOUT)
        self.output = nn.Linear(common.D_MODEL, vocab_size)
        self.output.weight = self.embedding.weight
        angle = torch.arange(512.0)[:, None] * torch.exp(
            torch.arange(0, common.D_MODEL, 2) * (-math.log(10000.0) / common.D_MODEL)
        )
        self.register_buffer("positions", torch.stack((angle.sin(), angle.cos()), -1).flatten(1))

    def embed(self, ids: Tensor) -> Tensor:
        return self.dropout(self.embedding(ids) * math.sqrt(common.D_MODEL) + self.positions[: ids.shape[1]])

    def encode(self, source: Tensor) -> Tensor:
        x, mask = self.embed(source), (source != common.PAD).unsqueeze(1)
        for layer in self.encoder:
            x = layer(x, mask)
        return self.norm_source(x)

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        x, memory_mask = self.embed(target), (source != common.PAD).unsqueeze(1)
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).tril()
        mask = (target != common.PAD).unsqueeze(1) & causal
        for layer in self.decoder:
            x = layer(x, mask, memory, memory_mask)
        return self.norm_target(x)

    def generate(self, x: Tensor) -> Tensor:
        return self.output(x).log_softmax(-1)


def smoothed_loss(log_probabilities: Tensor, gold: Tensor) -> Tensor:
    """KL divergence from a full tensor of smoothed target distributions, as the article builds it."""
    vocab_size = log_probabilities.shape[-1]
    truth = torch.full_like(log_probabilities, common.SMOOTHING / (vocab_size - 2))
    truth.scatter_(1, gold.unsqueeze(1), 1 - common.SMOOTHING)
    truth[:, common.PAD] = 0
    truth.masked_fill_((gold == common.PAD).unsqueeze(1), 0.0)
    return nn.functional.kl_div(log_probabilities, truth, reduction="sum")


def train(job: Job) -> None:
    model = Translator(job.vocab_size).train()
    optimizer = torch.optim.Adam(model.parameters(), common.LEARNING_RATE, betas=(0.9, 0.98), eps=1e-9)
    meter = Meter(job)
    for source, target in batches(job):
        gold = target[:, 1:]
        n_tokens = gold.ne(common.PAD).sum()
        meter.count(n_tokens, gold.numel())
        log_probabilities = model.generate(model.decode(target[:, :-1], model.encode(source), source))
        loss = smoothed_loss(log_probabilities.flatten(0, 1), gold.flatten()) / n_tokens
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), common.CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()


def decode(job: Job) -> None:
    job.modes = tuple(mode for mode in job.modes if mode != "beam")
    model = Translator(job.vocab_size).eval()

    @torch.no_grad()
    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        outputs: Ids = []
        for batch in chunks(sentences, batch_size):
            source = pad([[*ids, common.EOS] for ids in batch])
            memory = model.encode(source)
            target = torch.full((len(batch), 1), common.BOS)
            for _ in range(common.FORCED_LENGTH):
                word = model.generate(model.decode(target, memory, source)[:, -1]).argmax(-1, keepdim=True)
                target = torch.cat((target, word), 1)
            outputs += target[:, 1:].tolist()
        return outputs

    measure_decoding(job, translate)


if __name__ == "__main__":
    job = read_job()
    if job.job.startswith("train-lstm") or job.precision != "fp32":
        unsupported("a Transformer in fp32 only")
    {"train": train, "decode": decode}[job.job](job)

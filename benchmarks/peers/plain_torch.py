"""The plain loop: `torch.nn.Transformer`, batches of like length by token budget, `nn.CrossEntropyLoss`, Adam."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import common
import torch
from common import Ids, Job, Meter, chunks, measure_decoding, pad, read_job, unsupported
from torch import Tensor, nn


class Translator(nn.Module):
    """nn.Transformer with one embedding for source, target and output."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, common.D_MODEL, padding_idx=common.PAD)
        nn.init.normal_(self.embedding.weight, std=common.D_MODEL**-0.5)
        self.transformer = nn.Transformer(
            common.D_MODEL,
            common.N_HEADS,
            common.N_LAYERS,
            common.N_LAYERS,
            common.D_FF,
            common.DROPOUT,
            batch_first=True,
        )
        for module in self.transformer.modules():
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = common.ATTENTION_DROPOUT
        self.output = nn.Linear(common.D_MODEL, vocab_size, bias=False)
        self.output.weight = self.embedding.weight
        self.dropout = nn.Dropout(common.DROPOUT)
        angle = torch.arange(512.0)[:, None] * torch.exp(
            torch.arange(0, common.D_MODEL, 2) * (-math.log(10000.0) / common.D_MODEL)
        )
        self.register_buffer("positions", torch.stack((angle.sin(), angle.cos()), -1).flatten(1))

    def embed(self, ids: Tensor) -> Tensor:
        return self.dropout(self.embedding(ids) * math.sqrt(common.D_MODEL) + self.positions[: ids.shape[1]])

    def encode(self, source: Tensor) -> Tensor:
        return self.transformer.encoder(self.embed(source), src_key_padding_mask=source == common.PAD)

    def decode(self, target: Tensor, memory: Tensor, source: Tensor) -> Tensor:
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        return self.transformer.decoder(
            self.embed(target), memory, causal, tgt_is_causal=True, memory_key_padding_mask=source == common.PAD
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.output(self.decode(target, self.encode(source), source))


def batches(job: Job) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs sorted by length, cut where the padded target or source would pass the budget, in random order."""
    source, target = job.pairs("train")
    rows = sorted(range(len(source)), key=lambda i: (len(target[i]), len(source[i])))
    cut: list[list[int]] = [[]]
    longest = 0
    for row in rows:
        longest = max(longest, len(source[row]) + 1, len(target[row]) + 2)
        if longest * (len(cut[-1]) + 1) > common.BATCH_TOKENS:
            cut.append([])
            longest = max(len(source[row]) + 1, len(target[row]) + 2)
        cut[-1].append(row)
    random.Random(1).shuffle(cut)
    for batch in cut:
        yield pad([[*source[i], common.EOS] for i in batch]), pad([[common.BOS, *target[i], common.EOS] for i in batch])


def train(job: Job) -> None:
    model = Translator(job.vocab_size).train()
    optimizer = torch.optim.Adam(model.parameters(), common.LEARNING_RATE, betas=(0.9, 0.98), eps=1e-9)
    loss_function = nn.CrossEntropyLoss(ignore_index=common.PAD, label_smoothing=common.SMOOTHING)
    meter = Meter(job)
    for source, target in batches(job):
        gold = target[:, 1:]
        meter.count(gold.ne(common.PAD).sum(), gold.numel())
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=job.precision == "bf16"):
            logits = model(source, target[:, :-1])
            loss = loss_function(logits.flatten(0, 1), gold.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), common.CLIP_NORM)
        optimizer.step()


def decode(job: Job) -> None:
    """Greedy search as such loops have it: no cache, the decoder reads the whole prefix again at every step."""
    if job.modes == ("beam",):
        unsupported("the plain loop has no beam search")
    job.modes = tuple(mode for mode in job.modes if mode != "beam")
    model = Translator(job.vocab_size).eval()
    if job.precision == "bf16":
        model.bfloat16()

    @torch.inference_mode()
    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        outputs: Ids = []
        for batch in chunks(sentences, batch_size):
            source = pad([[*ids, common.EOS] for ids in batch])
            memory = model.encode(source)
            target = torch.full((len(batch), 1), common.BOS)
            for _ in range(common.FORCED_LENGTH):
                logits = model.output(model.decode(target, memory, source)[:, -1])
                target = torch.cat((target, logits.argmax(-1, keepdim=True)), 1)
            outputs += target[:, 1:].tolist()
        return outputs

    measure_decoding(job, translate)


if __name__ == "__main__":
    job = read_job()
    if job.job.startswith("train-lstm") or job.precision == "int8":
        unsupported("nn.Transformer in fp32 or bf16 only")
    {"train": train, "decode": decode}[job.job](job)

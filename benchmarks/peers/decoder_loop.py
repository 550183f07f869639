"""A loop in the style of nanoGPT: a GPT-2 in plain torch, random rows, cross-entropy over all logits, fused AdamW."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from common import Meter
from decoder_common import CLIP_NORM, LEARNING_RATE, Job, read_job
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.inner, self.outer = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        rows, time, d = x.shape
        parts = self.qkv(self.norm_1(x)).split(d, dim=2)
        q, k, v = (part.view(rows, time, self.heads, -1).transpose(1, 2) for part in parts)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(rows, time, d))
        return x + self.outer(F.gelu(self.inner(self.norm_2(x))))


class Model(nn.Module):
    def __init__(self, job: Job) -> None:
        super().__init__()
        self.token = nn.Embedding(job.vocab_size, job.d_model)
        self.position = nn.Embedding(job.positions, job.d_model)
        self.blocks = nn.ModuleList(Block(job.d_model, job.n_heads) for _ in range(job.n_layers))
        self.norm = nn.LayerNorm(job.d_model)
        nn.init.normal_(self.token.weight, std=0.02)

    def forward(self, text: Tensor, target: Tensor) -> Tensor:
        x = self.token(text) + self.position(torch.arange(text.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.token.weight)
        return F.cross_entropy(logits.flatten(0, 1), target.flatten())


if __name__ == "__main__":
    job = read_job()
    model, ids, meter = Model(job), torch.from_numpy(job.ids.astype("int64")), Meter(job)  # type: ignore[arg-type]
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.99), fused=True)
    while True:
        starts = torch.randint(len(ids) - job.positions, (job.batch,))
        text = torch.stack([ids[i : i + job.positions] for i in starts])
        target = torch.stack([ids[i + 1 : i + 1 + job.positions] for i in starts])
        meter.count(target.numel(), target.numel())
        with torch.autocast("cpu", torch.bfloat16, enabled=job.precision == "bf16"):
            loss = model(text, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

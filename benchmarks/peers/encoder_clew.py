"""clew's encoders through the pieces that its own commands use: `fit` on a `TextLoader`, and the heads of BERT."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import encoder_common as common
import numpy as np
import torch
from clew_counted import Counted
from common import Meter
from encoder_common import Ids, Job, in_batches, measure_encoding, read_job
from safetensors.torch import load_file

from clew.batches import TextBatch
from clew.config import BatchConfig, BudgetConfig
from clew.contracts import Loader, Objective
from clew.data.batches import TextLoader, Texts
from clew.data.masking import Masking
from clew.decode.encoder import EncoderEngine
from clew.hub.bert import EncoderAdapter
from clew.inputs import Tokens
from clew.models.bert import Bert, BertConfig
from clew.models.heads import with_head
from clew.objectives.classification import Classification
from clew.objectives.masked_lm import MaskedLM
from clew.train.loop import fit
from clew.train.optim import AdamW
from clew.train.schedule import Constant

MODEL = BertConfig(
    n_layers=common.N_LAYERS, d_model=common.D_MODEL, n_heads=common.N_HEADS, d_ff=common.D_FF,
    max_length=common.MAX_LENGTH, dropout=common.DROPOUT, attention_dropout=common.DROPOUT,
)  # fmt: skip


class MaskedLines(TextLoader):
    """Batches of lines with tokens hidden; [CLS] and [SEP] stay."""

    def __init__(self, texts: Texts, meta: dict[str, Any], **settings: Any) -> None:
        self.masking = Masking(common.MASKED, meta["mask_id"], np.array(meta["plain"]))
        self.special = np.array(meta["special"])
        super().__init__(texts, **settings)

    def collate(self, rows: np.ndarray, rng: np.random.Generator) -> TextBatch:
        batch = super().collate(rows, rng)
        text = batch.text.numpy()
        read, chosen = self.masking(text, ~np.isin(text, self.special), rng)
        found = {"text": read, "label": text[chosen], "at": np.flatnonzero(chosen)}
        return replace(batch, **{name: torch.from_numpy(array) for name, array in found.items()})


class AtRandom(Loader):
    """A loader's rows in batches as a DataLoader that shuffles makes them: so many lines, of any lengths."""

    def __init__(self, loader: TextLoader, lines: int) -> None:
        super().__init__(seed=1)
        self.loader, self.lines = loader, lines

    def plan(self, epoch: int) -> list[np.ndarray]:
        order = np.random.default_rng([self.seed, epoch]).permutation(self.loader.rows)
        return [order[start : start + self.lines] for start in range(0, len(order) - self.lines + 1, self.lines)]

    def collate(self, rows: np.ndarray, rng: np.random.Generator) -> TextBatch:
        return self.loader.collate(rows, rng)


def train(job: Job) -> None:
    rows, meta = job.rows, json.loads((job.data / "meta.json").read_text())
    ids = [row["input_ids"] for row in rows]
    texts = Texts(ids, [row["label"] for row in rows], [row["first"] for row in rows])
    settings = {
        "batch": BatchConfig(tokens=round(job.batch * sum(map(len, ids)) / len(ids))),
        "max_length": common.MAX_LENGTH, "seed": 1,
        "pad_id": 0,
    }  # fmt: skip
    pretrain = job.job != "finetune"
    loader = MaskedLines(texts, meta, **settings) if pretrain else TextLoader(texts, **settings)
    objective: Objective = MaskedLM(MaskedLM.Config()) if pretrain else Classification(Classification.Config())
    head, n_outputs = ("masked_lm", 0) if pretrain else ("classify", common.CLASSES)
    model = with_head(head, MODEL, Tokens(meta["vocab_size"]), n_outputs)
    meter = Meter(job, "clew")
    counted = Counted(objective, lambda batch: meter.count(int(batch.mask.sum()), batch.mask.numel()))

    optimizer = AdamW(AdamW.Config(lr=common.LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8))(model)
    for _ in fit(
        model, counted, AtRandom(loader, job.batch) if job.style == "random" else loader, optimizer,
        Constant(Constant.Config()), BudgetConfig(steps=job.warmup + job.steps + 1), clip_norm=common.CLIP_NORM,
        precision=job.precision,
    ):  # fmt: skip
        pass


def encode(job: Job) -> None:
    found = EncoderAdapter(Bert)
    config = found.config_from_hf(json.loads((job.folder / "config.json").read_text()), str(job.folder))
    model = with_head("masked_lm", config, Tokens(job.vocab_size), 0)
    found.fill(model, load_file(job.folder / "model.safetensors"), str(job.folder))
    encoder = model.encoder.eval() if job.precision == "fp32" else EncoderEngine(model.encoder, job.precision)

    @torch.inference_mode()
    def vectors(lines: Ids) -> np.ndarray:
        batch = Texts(lines, [0] * len(lines)).batch(range(len(lines)), pad_id=0)
        return encoder(batch).mean.numpy()

    measure_encoding(job, in_batches(vectors, job.batch), "clew")


if __name__ == "__main__":
    job = read_job()
    encode(job) if job.job.startswith("encode") else train(job)

"""Hugging Face transformers' BERT: its Trainer, a bare loop, and the model alone."""

from __future__ import annotations

import encoder_common as common
import numpy as np
import torch
from common import Meter
from encoder_common import Ids, Job, in_batches, mean_pool, measure_encoding, pad, read_job
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

PACKAGES = ("transformers", "accelerate")


def make_model(job: Job) -> torch.nn.Module:
    config = BertConfig(
        vocab_size=job.vocab_size, num_hidden_layers=common.N_LAYERS, hidden_size=common.D_MODEL,
        num_attention_heads=common.N_HEADS, intermediate_size=common.D_FF, max_position_embeddings=common.MAX_LENGTH,
        hidden_dropout_prob=common.DROPOUT, attention_probs_dropout_prob=common.DROPOUT, num_labels=common.CLASSES,
    )  # fmt: skip
    return (BertForSequenceClassification if job.job == "finetune" else BertForMaskedLM)(config)


class Collate:
    """Rows to tensors, counting real tokens: masked by transformers' own collator, or pairs padded as `style` says."""

    def __init__(self, job: Job, meter: Meter) -> None:
        self.job, self.meter = job, meter
        tokenizer = AutoTokenizer.from_pretrained(job.data / "tokenizer")
        self.masked = DataCollatorForLanguageModeling(tokenizer, mlm_probability=common.MASKED)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        if self.job.job != "finetune":
            batch = dict(self.masked([{"input_ids": row["input_ids"]} for row in rows]))
        else:
            ids, mask = pad([row["input_ids"] for row in rows])
            if self.job.style == "128":
                ids, mask = (torch.nn.functional.pad(each, (0, 128 - each.shape[1])) for each in (ids, mask))
            first = torch.tensor([row["first"] for row in rows])[:, None]
            segment = (torch.arange(ids.shape[1]) >= first).long() * mask
            labels = torch.tensor([row["label"] for row in rows])
            batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segment, "labels": labels}
        self.meter.count(batch["attention_mask"].sum(), batch["attention_mask"].numel())
        return batch


def by_trainer(job: Job) -> None:
    arguments = TrainingArguments(
        output_dir=str(job.work), per_device_train_batch_size=job.batch, max_steps=job.warmup + job.steps,
        train_sampling_strategy="group_by_length" if job.style == "grouped" else "random",
        remove_unused_columns=False, learning_rate=common.LEARNING_RATE, max_grad_norm=common.CLIP_NORM,
        lr_scheduler_type="constant", bf16=job.precision == "bf16", use_cpu=True, dataloader_num_workers=0,
        save_strategy="no", report_to="none", disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    collate = Collate(job, Meter(job, *PACKAGES))
    Trainer(make_model(job), arguments, data_collator=collate, train_dataset=job.rows).train()


def by_loop(job: Job) -> None:
    model = make_model(job).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=common.LEARNING_RATE, fused=True)
    collate = Collate(job, Meter(job, "transformers"))
    for batch in torch.utils.data.DataLoader(job.rows, job.batch, shuffle=True, collate_fn=collate):
        with torch.autocast("cpu", torch.bfloat16, enabled=job.precision == "bf16"):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), common.CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()


def encode(job: Job) -> None:
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    model = AutoModel.from_pretrained(job.folder, add_pooling_layer=False, dtype=dtype).eval()

    @torch.inference_mode()
    def vectors(lines: Ids) -> np.ndarray:
        ids, mask = pad(lines)
        return mean_pool(model(input_ids=ids, attention_mask=mask).last_hidden_state.float(), mask).numpy()

    measure_encoding(job, in_batches(vectors, job.batch, by_length=job.style == "sorted"), "transformers")


if __name__ == "__main__":
    job = read_job()
    encode(job) if job.job.startswith("encode") else by_loop(job) if job.style == "loop" else by_trainer(job)

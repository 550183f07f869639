"""Hugging Face transformers' GPT-2: its Trainer, and `generate` with its cache."""

from __future__ import annotations

import torch
from common import Meter
from decoder_common import CLIP_NORM, LEARNING_RATE, Job, measure_writing, read_job
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments


class Rows(torch.utils.data.Dataset):
    """The text in rows of one length; the model shifts the labels itself."""

    def __init__(self, job: Job) -> None:
        ids = torch.from_numpy(job.ids.astype("int64"))
        self.rows = ids[: len(ids) // job.positions * job.positions].view(-1, job.positions)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.rows[i], "labels": self.rows[i]}


def train(job: Job) -> None:
    model = AutoModelForCausalLM.from_pretrained(job.folder)
    meter = Meter(job, "transformers", "accelerate")  # type: ignore[arg-type]

    def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        meter.count(batch["labels"].numel(), batch["labels"].numel())
        return batch

    arguments = TrainingArguments(
        output_dir=str(job.work), per_device_train_batch_size=job.batch, max_steps=job.warmup + job.steps,
        learning_rate=LEARNING_RATE, max_grad_norm=CLIP_NORM, lr_scheduler_type="constant", weight_decay=0.1,
        bf16=job.precision == "bf16", use_cpu=True, dataloader_num_workers=0, save_strategy="no", report_to="none",
        disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    Trainer(model, arguments, data_collator=collate, train_dataset=Rows(job)).train()


def write(job: Job) -> None:
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(job.folder, dtype=dtype).eval()

    @torch.inference_mode()
    def tokens(prompts: torch.Tensor) -> torch.Tensor:
        out = model.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=job.new, min_new_tokens=job.new,
            do_sample=False, use_cache=True, eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        return out[:, prompts.shape[1] :]

    measure_writing(job, tokens, "transformers")


if __name__ == "__main__":
    job = read_job()
    train(job) if job.job.startswith("train") else write(job)

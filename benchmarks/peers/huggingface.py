"""Hugging Face transformers: MarianMT with Seq2SeqTrainer and `generate`."""

from __future__ import annotations

import common
import torch
from common import Ids, Job, Meter, chunks, measure_decoding, pad, read_job, unsupported
from transformers import MarianConfig, MarianMTModel, Seq2SeqTrainer, Seq2SeqTrainingArguments

PACKAGES = ("transformers", "accelerate")


def marian(vocab_size: int) -> MarianMTModel:
    config = MarianConfig(
        vocab_size=vocab_size, d_model=common.D_MODEL, encoder_layers=common.N_LAYERS, decoder_layers=common.N_LAYERS,
        encoder_attention_heads=common.N_HEADS, decoder_attention_heads=common.N_HEADS, encoder_ffn_dim=common.D_FF,
        decoder_ffn_dim=common.D_FF,
        dropout=common.DROPOUT, attention_dropout=common.ATTENTION_DROPOUT, activation_function="relu",
        max_position_embeddings=512,
        scale_embedding=True, share_encoder_decoder_embeddings=True, tie_word_embeddings=True,
        pad_token_id=common.PAD, eos_token_id=common.EOS, decoder_start_token_id=common.PAD, forced_eos_token_id=None,
        bos_token_id=None,
    )  # fmt: skip
    return MarianMTModel(config)


def train(job: Job) -> None:
    source, target = job.pairs("train")
    data = [
        {"input_ids": [*s, common.EOS], "labels": [*t, common.EOS], "length": len(t) + 1}
        for s, t in zip(source, target, strict=True)
    ]
    mean = sum(row["length"] for row in data) / len(data)
    meter = Meter(job, *PACKAGES)
    model = marian(job.vocab_size)

    def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
        ids, labels = pad([row["input_ids"] for row in rows]), pad([row["labels"] for row in rows])
        meter.count(labels.ne(common.PAD).sum(), labels.numel())
        labels = labels.masked_fill(labels.eq(common.PAD), -100)
        shifted = model.prepare_decoder_input_ids_from_labels(labels)  # as DataCollatorForSeq2Seq does
        return {
            "input_ids": ids,
            "attention_mask": ids.ne(common.PAD).long(),
            "labels": labels,
            "decoder_input_ids": shifted,
        }

    arguments = Seq2SeqTrainingArguments(
        output_dir=str(job.work),
        per_device_train_batch_size=round(common.BATCH_TOKENS / mean),  # the trainer counts sentences, not tokens
        train_sampling_strategy="group_by_length", length_column_name="length", remove_unused_columns=False,
        max_steps=job.warmup + job.steps, learning_rate=common.LEARNING_RATE, adam_beta2=0.98,
        max_grad_norm=common.CLIP_NORM,
        label_smoothing_factor=common.SMOOTHING, bf16=job.precision == "bf16", use_cpu=True,
        dataloader_num_workers=0, save_strategy="no", report_to="none", disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    Seq2SeqTrainer(model, arguments, data_collator=collate, train_dataset=data).train()


def decode(job: Job) -> None:
    model = marian(job.vocab_size).eval()
    if job.precision == "bf16":
        model.bfloat16()

    @torch.inference_mode()
    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        outputs: Ids = []
        for batch in chunks(sentences, batch_size):
            ids = pad([[*sentence, common.EOS] for sentence in batch])
            written = model.generate(
                input_ids=ids, attention_mask=ids.ne(common.PAD).long(), num_beams=beam, do_sample=False,
                min_new_tokens=common.FORCED_LENGTH, max_new_tokens=common.FORCED_LENGTH,
            )  # fmt: skip
            outputs += written[:, 1:].tolist()
        return outputs

    measure_decoding(job, translate, *PACKAGES)


if __name__ == "__main__":
    job = read_job()
    if job.job.startswith("train-lstm") or job.precision == "int8":
        unsupported("Marian in fp32 or bf16 only")
    {"train": train, "decode": decode}[job.job](job)

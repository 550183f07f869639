"""Eole: its own trainer and inference engine, on files of ids as words."""

from __future__ import annotations

import os

import common
from common import Ids, Job, Meter, measure_decoding, read_job, unsupported
from eole.bin.run.train import train as run_training
from eole.config.run import PredictConfig, TrainConfig
from eole.inference_engine import InferenceEnginePY
from eole.utils.loss import LossCompute

EMBEDDINGS = {"word_vec_size": common.D_MODEL}
TRANSFORMER = {
    "architecture": "transformer", "hidden_size": common.D_MODEL, "layers": common.N_LAYERS, "heads": common.N_HEADS,
    "transformer_ff": common.D_FF,
    "embeddings": {**EMBEDDINGS, "position_encoding_type": "SinusoidalInterleaved"},
    "share_embeddings": True, "share_decoder_embeddings": True, "add_qkvbias": True, "add_ffnbias": True,
}  # fmt: skip
LSTM = {
    "architecture": "custom", "hidden_size": common.D_MODEL, "embeddings": EMBEDDINGS,
    "encoder": {"encoder_type": "brnn", "rnn_type": "LSTM", "layers": 1},
    "decoder": {"decoder_type": "rnn", "rnn_type": "LSTM", "layers": 1, "global_attention": "mlp"},
}  # fmt: skip


def recipe(job: Job, model: dict, **training: object) -> TrainConfig:
    """What `eole train` reads from its file."""
    source, target = job.write_text("train")
    vocabulary = job.work / "vocab.txt"
    vocabulary.write_text("".join(f"{word}\t1\n" for word in job.words))
    return TrainConfig(
        data={"corpus_1": {"path_src": str(source), "path_tgt": str(target)}},
        src_vocab=str(vocabulary), tgt_vocab=str(vocabulary), share_vocab=True,
        src_vocab_size=job.vocab_size, tgt_vocab_size=job.vocab_size, seed=1, report_every=1000, model=model,
        training={
            "model_path": str(job.work / "model"), "world_size": 0, "gpu_ranks": [], "num_workers": 0,
            "compute_dtype": job.precision, "dropout": [common.DROPOUT],
            "attention_dropout": [common.ATTENTION_DROPOUT],
            "label_smoothing": common.SMOOTHING, "optim": "adam", "adam_beta2": 0.98,
            "learning_rate": common.LEARNING_RATE,
            "max_grad_norm": common.CLIP_NORM, "batch_type": "tokens", "batch_size": common.BATCH_TOKENS,
            "batch_size_multiple": 1,
            "normalization": "tokens", "bucket_size": 32768, "param_init_method": "xavier_uniform", **training,
        },
    )  # fmt: skip


def train(job: Job, model: dict) -> None:
    meter = Meter(job, "eole")
    compute = LossCompute.forward

    def counted(self: LossCompute, batch: dict, *args, **kwargs):
        gold = batch["tgt"][:, 1:]
        meter.count(gold.ne(self.padding_idx).sum(), gold.numel())
        return compute(self, batch, *args, **kwargs)

    LossCompute.forward = counted
    run_training(recipe(job, model, train_steps=job.warmup + job.steps + 1))


def decode(job: Job) -> None:
    precision, job.precision = job.precision, "fp32"
    run_training(recipe(job, TRANSFORMER, train_steps=1, batch_size=64, bucket_size=64))
    engines: dict[tuple[int, int], InferenceEnginePY] = {}

    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        if (beam, batch_size) not in engines:
            config = PredictConfig(
                model_path=[str(job.work / "model")], src=os.devnull, output=os.devnull, beam_size=beam,
                batch_size=batch_size, min_length=common.FORCED_LENGTH, max_length=common.FORCED_LENGTH,
                max_length_ratio=0,
                compute_dtype=precision, world_size=0, gpu_ranks=[],
            )  # fmt: skip
            engines[beam, batch_size] = InferenceEnginePY(config)
        _, _, texts = engines[beam, batch_size].infer_list([" ".join(map(str, ids)) for ids in sentences])
        return [text[0].split() for text in texts]

    measure_decoding(job, translate, "eole")


if __name__ == "__main__":
    job = read_job()
    if job.precision == "int8":
        unsupported("its int8 prediction fails on a CPU in 0.6.4")
    if job.job == "train-lstm-feeding":
        unsupported("its recurrent decoder has no input feeding")
    os.chdir(job.work)
    if job.job == "decode":
        decode(job)
    train(job, LSTM if job.job == "train-lstm" else TRANSFORMER)

"""OpenNMT-py: its own trainer and inference engine, on files of ids as words."""

from __future__ import annotations

import os
from pathlib import Path

import common
import yaml
from common import Ids, Job, Meter, measure_decoding, read_job, unsupported
from onmt.bin.train import train as run_training
from onmt.inference_engine import InferenceEnginePY
from onmt.opts import train_opts, translate_opts
from onmt.utils.loss import LossCompute
from onmt.utils.parse import ArgumentParser

TRANSFORMER = {
    "encoder_type": "transformer", "decoder_type": "transformer", "position_encoding": True, "layers": common.N_LAYERS,
    "heads": common.N_HEADS, "transformer_ff": common.D_FF, "share_decoder_embeddings": True, "share_embeddings": True,
    "attention_dropout": [common.ATTENTION_DROPOUT], "param_init": 0, "param_init_glorot": True, "add_qkvbias": True,
}  # fmt: skip
LSTM = {
    "encoder_type": "brnn", "decoder_type": "rnn", "rnn_type": "LSTM", "layers": 1, "global_attention": "mlp",
    "bridge": False,
}  # fmt: skip


def options(job: Job, settings: dict) -> object:
    """The options of `onmt_train`, read from a file as its users write it."""
    source, target = job.write_text("train")
    vocabulary = job.work / "vocab.txt"
    vocabulary.write_text("".join(f"{word}\t1\n" for word in job.words))
    recipe = {
        "data": {"corpus_1": {"path_src": str(source), "path_tgt": str(target)}},
        "src_vocab": str(vocabulary), "tgt_vocab": str(vocabulary), "share_vocab": True,
        "src_vocab_size": job.vocab_size, "tgt_vocab_size": job.vocab_size, "save_model": str(job.work / "model"),
        "hidden_size": common.D_MODEL, "word_vec_size": common.D_MODEL, "dropout": [common.DROPOUT],
        "label_smoothing": common.SMOOTHING,
        "optim": "adam", "adam_beta2": 0.98, "learning_rate": common.LEARNING_RATE, "max_grad_norm": common.CLIP_NORM,
        "batch_type": "tokens", "batch_size": common.BATCH_TOKENS, "batch_size_multiple": 1, "normalization": "tokens",
        "bucket_size": 32768, "num_workers": 0, "seed": 1, "report_every": 1000, **settings,
    }  # fmt: skip
    path = job.work / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    parser = ArgumentParser()
    train_opts(parser)
    return parser.parse_known_args(["-config", str(path)])[0]


def train(job: Job, architecture: dict) -> None:
    meter = Meter(job, "OpenNMT-py")
    compute = LossCompute.forward

    def counted(self: LossCompute, batch: dict, *args, **kwargs):
        gold = batch["tgt"][:, 1:]
        meter.count(gold.ne(self.padding_idx).sum(), gold.numel())
        return compute(self, batch, *args, **kwargs)

    LossCompute.forward = counted
    run_training(options(job, {**architecture, "train_steps": job.warmup + job.steps + 1}))


def decode(job: Job) -> None:
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # its checkpoint, just written, holds an argparse.Namespace
    run_training(options(job, {**TRANSFORMER, "train_steps": 1, "batch_size": 64, "bucket_size": 64}))
    parser = ArgumentParser()
    translate_opts(parser)
    engines: dict[tuple[int, int], InferenceEnginePY] = {}

    def engine(beam: int, batch_size: int) -> InferenceEnginePY:
        lengths = ["-min_length", str(common.FORCED_LENGTH), "-max_length", str(common.FORCED_LENGTH)]
        sizes = ["-beam_size", str(beam), "-batch_size", str(batch_size), "-output", os.devnull, "-src", os.devnull]
        opt = parser.parse_args(["-model", str(job.work / "model_step_1.pt"), *lengths, *sizes])
        ArgumentParser.validate_translate_opts(opt)
        ArgumentParser._get_all_transform_translate(opt)
        ArgumentParser._validate_transforms_opts(opt)
        ArgumentParser.validate_translate_opts_dynamic(opt)
        return InferenceEnginePY(opt)

    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        if (beam, batch_size) not in engines:
            engines[beam, batch_size] = engine(beam, batch_size)
        _, texts = engines[beam, batch_size].infer_list([" ".join(map(str, ids)) for ids in sentences])
        return [text[0].split() for text in texts]

    measure_decoding(job, translate, "OpenNMT-py")


if __name__ == "__main__":
    job = read_job()
    if job.precision != "fp32":
        unsupported("fp32 only on a CPU: its 16-bit training needs a GPU")
    os.chdir(job.work)
    Path("tmp").mkdir(exist_ok=True)
    if job.job == "decode":
        decode(job)
    feeding = {"input_feed": int(job.job == "train-lstm-feeding")}
    train(job, TRANSFORMER if job.job == "train" else LSTM | feeding)

"""JoeyNMT: its training manager and its search, on files of ids as words."""

from __future__ import annotations

import common
import torch
from common import Ids, Job, Meter, chunks, measure_decoding, pad, read_job, unsupported
from joeynmt.batch import Batch
from joeynmt.config import parse_global_args
from joeynmt.model import build_model
from joeynmt.search import search
from joeynmt.training import train as run_training
from joeynmt.vocabulary import build_vocab

EMBEDDINGS = {"embedding_dim": common.D_MODEL, "scale": True, "dropout": 0.0}
LAYERS = {
    "type": "transformer", "num_layers": common.N_LAYERS, "num_heads": common.N_HEADS, "hidden_size": common.D_MODEL,
    "ff_size": common.D_FF,
    "dropout": common.DROPOUT, "layer_norm": "pre", "activation": "relu",
}  # fmt: skip
TRANSFORMER = {
    "initializer": "xavier_uniform", "embed_initializer": "xavier_uniform", "tied_embeddings": True,
    "tied_softmax": True,
    "encoder": {**LAYERS, "embeddings": EMBEDDINGS}, "decoder": {**LAYERS, "embeddings": EMBEDDINGS},
}  # fmt: skip
RNN = {"type": "recurrent", "rnn_type": "lstm", "num_layers": 1, "dropout": common.DROPOUT, "embeddings": EMBEDDINGS}
LSTM = {
    "initializer": "xavier_uniform", "embed_initializer": "normal", "tied_embeddings": True, "tied_softmax": False,
    "encoder": {**RNN, "hidden_size": common.D_MODEL // 2, "bidirectional": True},
    "decoder": {
        **RNN, "hidden_size": common.D_MODEL, "attention": "bahdanau", "hidden_dropout": common.DROPOUT,
        "init_hidden": "bridge",
    },
}  # fmt: skip


def configuration(job: Job, model: dict) -> dict:
    """What its YAML file holds; it puts four special tokens before the given words, as we do."""
    for split in ("train", "test"):
        source, target = job.write_text(split)
        source.rename(job.work / f"{split}.src")
        target.rename(job.work / f"{split}.trg")
    vocabulary = job.work / "vocab.txt"
    vocabulary.write_text("".join(f"{word}\n" for word in job.words))
    side = {"level": "word", "lowercase": False, "voc_file": str(vocabulary), "max_length": 256}
    return {
        "name": "bench", "model_dir": str(job.work / "model"), "use_cuda": False, "random_seed": 1, "num_workers": 0,
        "data": {
            "train": str(job.work / "train"), "dev": str(job.work / "test"), "dataset_type": "plain",
            "src": {"lang": "src", **side}, "trg": {"lang": "trg", **side},
        },
        "testing": {"beam_size": 1},
        "training": {
            "optimizer": "adam", "adam_betas": [0.9, 0.98], "learning_rate": common.LEARNING_RATE,
            "label_smoothing": common.SMOOTHING,
            "loss": "crossentropy", "normalization": "tokens", "clip_grad_norm": common.CLIP_NORM,
            "batch_type": "token",
            "batch_size": common.BATCH_TOKENS, "epochs": 9, "scheduling": "warmupinversesquareroot",
            "learning_rate_warmup": 400, "shuffle": True, "logging_freq": 1000, "validation_freq": 100000,
        },
        "model": model,
    }  # fmt: skip


def train(job: Job, model: dict) -> None:
    meter = Meter(job, "joeynmt")
    build = Batch.__init__

    def counted(self: Batch, *args, **kwargs) -> None:
        build(self, *args, **kwargs)
        meter.count(self.ntokens, self.trg.numel())

    Batch.__init__ = counted
    (job.work / "model").mkdir()
    run_training(0, 0, configuration(job, model), skip_test=True)


def decode(job: Job) -> None:
    arguments = parse_global_args(configuration(job, TRANSFORMER), mode="translate")
    source, target = build_vocab(arguments.data)
    model = build_model(arguments.model, source, target).eval()

    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        outputs: Ids = []
        for rows in chunks(sentences, batch_size):
            batch = Batch(
                pad([[*ids, source.eos_index] for ids in rows], source.pad_index),
                torch.tensor([len(ids) + 1 for ids in rows]), None, None, None, torch.arange(len(rows)),
                arguments.device, source.pad_index, source.eos_index, is_train=False,
            )  # fmt: skip
            written, _, _ = search(
                model, batch, common.FORCED_LENGTH, beam, 1.0, min_output_length=common.FORCED_LENGTH,
                generate_unk=True,
                autocast=arguments.autocast,
            )  # fmt: skip
            outputs += written.tolist()
        return outputs

    measure_decoding(job, translate, "joeynmt")


if __name__ == "__main__":
    job = read_job()
    if job.precision != "fp32":
        unsupported("its 16-bit mode needs a GPU")
    if job.job == "decode":
        decode(job)
    LSTM["decoder"]["input_feeding"] = job.job == "train-lstm-feeding"
    train(job, TRANSFORMER if job.job == "train" else LSTM)

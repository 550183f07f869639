"""clew itself, through the pieces that its own commands use: `fit` on a `PairLoader`, and `search` on an `engine`."""

from __future__ import annotations

import common
import torch
from clew_counted import Counted
from common import Ids, Job, Meter, chunks, measure_decoding, pad, read_job, unsupported
from torch import nn

from clew.config import BatchConfig, BudgetConfig
from clew.data.batches import PairLoader, Pairs
from clew.decode.engine import engine
from clew.decode.search import Limits, search
from clew.inputs import TokenPair
from clew.models.seq2seq import Seq2Seq, Seq2SeqConfig
from clew.models.transformer import Transformer, TransformerConfig
from clew.objectives.translation import Translation, TranslationConfig
from clew.train.loop import fit
from clew.train.optim import Adam, AdamConfig
from clew.train.schedule import InverseSqrt

TRANSFORMER = TransformerConfig(
    d_model=common.D_MODEL, d_ff=common.D_FF, n_heads=common.N_HEADS, n_encoder_layers=common.N_LAYERS,
    n_decoder_layers=common.N_LAYERS, dropout=common.DROPOUT,
    attention_dropout=common.ATTENTION_DROPOUT,
)  # fmt: skip
LSTM = Seq2SeqConfig(d_embedding=common.D_MODEL, d_model=common.D_MODEL, dropout=common.DROPOUT)


def train(job: Job, model: nn.Module) -> None:
    loader = PairLoader(
        Pairs(*job.pairs("train")),
        batch=BatchConfig(tokens=common.BATCH_TOKENS),
        max_length=256,
        seed=1,
        pad_id=common.PAD,
        bos_id=common.BOS,
        eos_id=common.EOS,
    )
    meter = Meter(job, "clew")
    translation = Translation(TranslationConfig(label_smoothing=common.SMOOTHING))

    counted = Counted(translation, lambda batch: meter.count(batch.n_tokens, batch.target_out.numel()))
    optimizer = Adam(AdamConfig(lr=common.LEARNING_RATE))(model)
    schedule = InverseSqrt(InverseSqrt.Config())
    budget = BudgetConfig(steps=job.warmup + job.steps + 1)
    for _ in fit(
        model, counted, loader, optimizer, schedule, budget, clip_norm=common.CLIP_NORM, precision=job.precision
    ):
        pass


def decode(job: Job, spec: TokenPair) -> None:
    model = engine(Transformer(TRANSFORMER, spec), job.precision)
    limits = Limits(common.BOS, eos_id=-1, max_length=common.FORCED_LENGTH)  # no token ends a sentence but the limit

    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        outputs: Ids = []
        for rows in chunks(sentences, batch_size):
            source = pad([[*ids, common.EOS] for ids in rows])
            outputs += [found[0].ids for found in search(model, source, source != common.PAD, limits, beam)]
        return outputs

    measure_decoding(job, translate, "clew")


if __name__ == "__main__":
    job = read_job()
    if job.precision == "int8" and job.job != "decode":
        unsupported("training in fp32 or bf16")
    torch.manual_seed(1)
    spec = TokenPair.of(job.vocab_size, job.vocab_size, common.PAD)
    if job.job == "decode":
        decode(job, spec)
    lstm = LSTM.model_copy(update={"input_feeding": job.job == "train-lstm-feeding"})
    model = Transformer(TRANSFORMER, spec) if job.job == "train" else Seq2Seq(lstm, spec)
    train(job, model)

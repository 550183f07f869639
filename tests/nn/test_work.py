"""What is charged for a token: what learns, what a gradient only passes through, what is only read, tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from clew.config import build, resolve
from clew.contracts import Model
from clew.inputs import TokenPair, Tokens, Words
from clew.models.bert import BertConfig
from clew.models.gpt2 import GPT2, GPT2Config
from clew.models.heads import with_head
from clew.models.transformer import Transformer, TransformerConfig
from clew.models.word2vec import Word2Vec, Word2VecConfig
from clew.nn.positions import Learned
from clew.nn.work import Work

CONFIG = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=16)
LAYER = 4 * (8 * 8 + 8) + (8 * 12 + 12) + (12 * 8 + 8) + 2 * 16
EMBEDDINGS = 16  # the norm: tables are looked up
HEAD = 8 * 8 + 8 + 8 * 3 + 3
BODY = EMBEDDINGS + 2 * LAYER


def tuned(kind: str, **settings: Any) -> tuple[Work, Any]:
    model = with_head("classify", CONFIG, Tokens(23), 3)
    tuning = build("tuning", resolve("tuning", kind).Config(**settings), model)
    return Work(model), tuning


def test_what_is_multiplied() -> None:
    """Tables are looked up, the rest is multiplied, and so is a table that is also the projection.

    A token goes through one half of a translator.
    """
    model = Model()
    model.parts = nn.Sequential(nn.Embedding(100, 4), Learned(4, 50), nn.Linear(4, 3))
    assert Work(model).training() == 6 * (4 * 3 + 3)
    sizes = {"d_model": 8, "d_ff": 8, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 1}
    shared = Transformer(TransformerConfig(**sizes), TokenPair.of(50, 50))
    apart = Transformer(TransformerConfig(**sizes, share_embeddings=False, positions="learned"), TokenPair.of(70, 50))
    every = sum(parameter.numel() for parameter in shared.parameters())
    assert Work(shared).training() == Work(apart).training() == 3 * every
    assert Work(shared).forward() == every
    words = Words(["a", "b"], torch.tensor([2, 1]).numpy())
    assert Work(Word2Vec(Word2VecConfig(d_model=4), words)).training() == 0


def test_every_tuning() -> None:
    work, _ = tuned("full")
    assert work.training() == 6 * (BODY + HEAD) and work.forward() == 2 * (BODY + HEAD)
    assert tuned("layerwise")[0].training() == 6 * (BODY + HEAD)
    assert tuned("frozen")[0].training() == 2 * BODY + 6 * HEAD  # no gradient goes into the blocks
    work, tuning = tuned("gradual", until=0.6)
    for done, learning in ((0.0, 0), (0.2, LAYER), (0.4, 2 * LAYER), (0.6, BODY)):
        tuning.before_step(done)
        assert work.training() == 2 * (BODY - learning) + 6 * (HEAD + learning)
    work, _ = tuned("lora", rank=2)
    updated = 2 * 2 * 8 * 8  # query and value of both layers learn as wholes; the rest is passed through
    assert work.training() == 2 * EMBEDDINGS + 4 * (2 * LAYER - updated) + 6 * (updated + HEAD)
    assert work.forward() == 2 * (BODY + HEAD)


def test_a_frozen_projection_is_passed_through() -> None:
    """The table of a language model is its lowest weight and its highest."""
    model = GPT2(GPT2Config(d_model=8, n_heads=2, n_layers=2, max_length=16), Tokens(23))
    build("tuning", resolve("tuning", "lora").Config(rank=2, targets=("inner",)), model)
    table, updated = 23 * 8, 2 * 8 * 32
    rest = sum(p.numel() for name, p in model.named_parameters() if "parametrizations" not in name) - table - 16 * 8
    assert Work(model).training() == 4 * (table + rest) + 6 * updated


def test_nothing_learns() -> None:
    model = Model()
    model.layer = nn.Linear(3, 2)
    assert Work(model).training() == 6 * 8
    assert Work(model.requires_grad_(False)).training() == pytest.approx(2 * 8)


def test_a_weight_that_is_used_at_many_places_is_counted_as_often() -> None:
    class Filters(Model):
        def __init__(self) -> None:
            super().__init__()
            self.filters, self.output = nn.Conv1d(2, 3, 3), nn.Linear(3, 4)

        def times_used(self) -> Mapping[int, float]:
            return {id(self.filters.weight): 9.0, id(self.filters.bias): 9.0}

    assert Work(Filters()).training() == 6 * (9 * (2 * 3 * 3 + 3) + 3 * 4 + 4)

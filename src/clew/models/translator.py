"""What every translator offers, so that training, decoding and inspection treat them alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from clew.batches import PairBatch
from clew.contracts import Model
from clew.errors import RecipeError
from clew.inputs import TokenPair
from clew.nn.embedding import EmbeddingConfig


@dataclass
class TranslatorOutput:
    """What `forward` returns. hidden: (batch, target, d), the decoder's states before the vocabulary projection."""

    hidden: Tensor


@dataclass
class Memory:
    """An encoded source. The first dimension of every tensor is the batch.

    states: (batch, source, d), one per source position; mask: (batch, source) bool, True = a real token.
    final: what a recurrent encoder ends in, each (batch, n_layers, d): h, and for an LSTM c; empty for other encoders.
    """

    states: Tensor
    mask: Tensor
    final: tuple[Tensor, ...] = ()

    def select(self, rows: Tensor) -> Memory:
        """The memory of the given batch rows (n,), in that order; rows may repeat or be left out."""
        final = tuple(tensor.index_select(0, rows) for tensor in self.final)
        return Memory(self.states.index_select(0, rows), self.mask.index_select(0, rows), final)


class Cache(Protocol):
    """What decoding keeps between steps: `beam` hypotheses of each sentence, those of one sentence side by side."""

    def reorder(self, rows: Tensor) -> None:
        """Move hypotheses (batch·beam,) within their sentences."""

    def keep(self, sentences: Tensor, rows: Tensor) -> None:
        """Drop finished sentences: keep these sentences (n,) and their hypotheses' rows (n·beam,)."""


class Translator(Model):
    """A model from a source sentence to a target sentence, built as `Model(config, spec)` of a `TokenPair`."""

    heads = frozenset({"translate"})
    share_read = 0.5  # a token goes through the encoder or through the decoder
    parallel = False  # True: it writes every position at once and has no decoding step
    target_attention = ""  # the taps that see target-to-source attention (batch, heads, target, source); "": none

    def forward(self, batch: PairBatch) -> TranslatorOutput:
        """Return the states of all target positions, each seeing the target tokens before it (teacher forcing)."""
        raise NotImplementedError

    def project(self, hidden: Tensor) -> Tensor:
        """Return the logits (…, target vocabulary) of hidden states (…, d)."""
        raise NotImplementedError

    def encode(self, source: Tensor, source_mask: Tensor) -> Memory:
        """Read source ids (batch, source) once."""
        raise NotImplementedError

    def start(self, memory: Memory, beam: int = 1) -> Any:
        """Return the decoding state before the first token, a `Cache`, for `beam` hypotheses of each sentence."""
        raise NotImplementedError

    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        """Read one token of every hypothesis (batch·beam,), advance the cache, return hidden (batch·beam, d)."""
        raise NotImplementedError


def one_table(target_embedding: EmbeddingConfig) -> None:
    """Refuse, with a ValueError, settings for the target's table where source and target share one."""
    if target_embedding != EmbeddingConfig():
        raise ValueError("with share_embeddings there is one table: set source_embedding, not target_embedding")


def check_sharing(spec: TokenPair) -> None:
    """Refuse, with a RecipeError, to share one embedding between two vocabularies."""
    if not spec.joint:
        raise RecipeError(
            f"vocabularies of {spec.source.vocab_size} and {spec.target.vocab_size} tokens cannot share an embedding",
            where="model.share_embeddings",
            fix="set tokenizer.joint=true or model.share_embeddings=false",
        )

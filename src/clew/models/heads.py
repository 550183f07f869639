"""What stands on an encoder: the heads of pre-training and of the tasks that it is fine-tuned on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.batches import TextBatch
from clew.config import Choice, resolve
from clew.errors import RecipeError
from clew.models.bert import initialise
from clew.models.classifier import ClassifierOutput
from clew.nn.dropout import Dropout
from clew.nn.linear import Linear

Encoder = Any
"""An nn.Module from a TextBatch to an EncoderOutput, with its `config` and `embeddings.token`."""


class Pooler(nn.Module):
    """tanh(W h_[CLS] + b): (batch, d) -> (batch, d)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.dense = nn.Linear(d_model, d_model)

    def forward(self, first: Tensor) -> Tensor:
        return torch.tanh(self.dense(first))


class MaskedLMHead(nn.Module):
    """norm(gelu(W h + b)), which the token embeddings, read backwards, turn into logits: (n, d) -> (n, d)."""

    def __init__(self, config: Any, vocab_size: int) -> None:
        super().__init__()
        self.dense = Linear(config.d_model, config.d_model)
        self.norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.norm(F.gelu(self.dense(hidden)))


def first_places(batch: TextBatch) -> Tensor:
    """(batch,) where [CLS] stands in each row, among the batch · time places."""
    rows, time = batch.text.shape
    return torch.arange(rows, device=batch.text.device) * time


@dataclass
class PretrainingOutput:
    """hidden: (n, d), of the tokens at `batch.at`, for the vocabulary; next: (batch, 2) logits, [1] = B follows."""

    hidden: Tensor
    next: Tensor | None


class Pretraining(nn.Module):
    """An encoder that guesses hidden tokens and, with `next_sentence`, whether text B goes on with text A (§3.1)."""

    def __init__(self, encoder: Encoder, vocab_size: int, *, next_sentence: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooler = Pooler(encoder.config.d_model) if next_sentence else None
        self.masked_lm = MaskedLMHead(encoder.config, vocab_size)
        self.next_sentence = nn.Linear(encoder.config.d_model, 2) if next_sentence else None
        for head in (self.pooler, self.masked_lm, self.next_sentence):
            if head is not None:
                initialise(head, encoder.config.d_model)

    def forward(self, batch: TextBatch) -> PretrainingOutput:
        """Only what was hidden, `batch.at`, goes on to the vocabulary."""
        if self.pooler is None or self.next_sentence is None:
            return PretrainingOutput(self.masked_lm(self.encoder(batch, batch.at).hidden), None)
        assert batch.at is not None
        hidden = self.encoder(batch, torch.cat([first_places(batch), batch.at])).hidden
        rows = batch.text.shape[0]  # not len(), which an export would take for a constant
        # In the published weights the first class is "B follows".
        next = self.next_sentence(self.pooler(hidden[:rows])).flip(-1)
        return PretrainingOutput(self.masked_lm(hidden[rows:]), next)

    def vocabulary_table(self) -> tuple[Tensor, Tensor]:
        """Weight (V, d), tied to the token embeddings, and bias (V,) of the logits."""
        return self.encoder.embeddings.token.weight, self.masked_lm.bias


class _Headed(nn.Module):
    """An encoder, dropout, and one linear layer over some of its states."""

    def __init__(self, encoder: Encoder, n_outputs: int, *, pooled: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooler = Pooler(encoder.config.d_model) if pooled else nn.Identity()
        self.dropout = Dropout(encoder.config.dropout)
        self.output = nn.Linear(encoder.config.d_model, n_outputs)
        for head in (self.pooler, self.output):
            initialise(head, encoder.config.d_model)


class SequenceClassification(_Headed):
    """Logits from the pooled [CLS] (§4.1): one text or a pair -> (batch, classes); one output is a score."""

    def __init__(self, encoder: Encoder, n_outputs: int) -> None:
        super().__init__(encoder, n_outputs, pooled=True)

    def forward(self, batch: TextBatch) -> ClassifierOutput:
        return ClassifierOutput(self.output(self.dropout(self.pooler(self.encoder(batch, first_places(batch)).hidden))))


class TokenClassification(_Headed):
    """Logits from the states of the tokens at `batch.at` (§5.3): (n, classes)."""

    def __init__(self, encoder: Encoder, n_outputs: int) -> None:
        super().__init__(encoder, n_outputs, pooled=False)

    def forward(self, batch: TextBatch) -> ClassifierOutput:
        return ClassifierOutput(self.output(self.dropout(self.encoder(batch, batch.at).hidden)))


class MultipleChoice(_Headed):
    """A score of each choice from the pooled [CLS] of its text (§4.4): (batch, choices)."""

    def __init__(self, encoder: Encoder, n_outputs: int) -> None:
        super().__init__(encoder, 1, pooled=True)
        self.choices = n_outputs

    def forward(self, batch: TextBatch) -> ClassifierOutput:
        scores = self.output(
            self.dropout(self.pooler(self.encoder(batch, first_places(batch)).hidden))
        )  # (batch · choices, 1)
        return ClassifierOutput(scores.view(-1, self.choices))


class LastState(nn.Module):
    """Logits from the state of a text's last token, the only one of a model that writes which has read all of it
    (Radford et al. 2018, §3.2; of rewards Ouyang et al. 2022, §3.5): W h + b, (batch, classes)."""

    def __init__(self, body: Any, n_outputs: int) -> None:
        super().__init__()
        self.body = body
        self.dropout = Dropout(body.config.dropout)
        self.output = nn.Linear(body.config.d_model, n_outputs)
        initialise(self.output, body.config.d_model)

    def forward(self, batch: TextBatch) -> ClassifierOutput:
        hidden = self.body(batch.text).hidden  # padding on the right does no harm
        last = hidden[torch.arange(len(hidden), device=hidden.device), batch.mask.sum(dim=1) - 1]  # (batch, d)
        return ClassifierOutput(self.output(self.dropout(last)))


@dataclass
class SpanOutput:
    """Scores of each token as the first and as the last one of the answer, (batch, time), -inf at padding."""

    start: Tensor
    end: Tensor


class SpanAnswering(_Headed):
    """Start and end vectors over all tokens (§4.2, §4.3); place 0, [CLS], says that there is no answer."""

    def __init__(self, encoder: Encoder, n_outputs: int = 2) -> None:
        super().__init__(encoder, 2, pooled=False)

    def forward(self, batch: TextBatch) -> SpanOutput:
        out = self.encoder(batch)
        scores = out.packing.unpack(self.output(out.hidden)).masked_fill(~batch.mask[..., None], -torch.inf)
        start, end = scores.unbind(dim=-1)
        return SpanOutput(start, end)


def sentence_vectors(encoder: Encoder, batch: TextBatch, pooling: Literal["mean", "cls"] = "mean") -> Tensor:
    """A vector of each text, (batch, d): the mean of its tokens' states, [CLS] and [SEP] included, or that of [CLS]."""
    out = encoder(batch)
    return out.mean if pooling == "mean" else out.first


HEADS = {
    "pretrain": Pretraining,
    "classify": SequenceClassification,
    "tag": TokenClassification,
    "choose": MultipleChoice,
    "answer": SpanAnswering,
}


def with_head(head: str, config: Choice, vocab_size: int, n_outputs: int, pad_id: int) -> Any:
    """The encoder that `config` describes under the head of that name; a model that is no encoder is its own head.

    A model that writes classifies by its last state. Raises RecipeError for another head on it.
    """
    kind = resolve("model", config.kind)
    if getattr(kind, "decoder", False) is True:
        if head != "classify":
            raise RecipeError(
                f"a {config.kind} reads from left to right: it has no head to {head}", where="model.kind",
                fix='take kind = "bert"',
            )  # fmt: skip
        return LastState(kind(config, vocab_size), n_outputs)
    if not getattr(kind, "encoder", False):
        return kind(config, vocab_size, n_outputs, pad_id)
    if head == "pretrain":
        return Pretraining(kind(config, vocab_size, pad_id), vocab_size, next_sentence=n_outputs > 0)
    return HEADS[head](kind(config, vocab_size, pad_id), n_outputs)

"""What stands on an encoder: the heads of pre-training and of the tasks that it is fine-tuned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clew.batches import TextBatch
from clew.config import Choice, resolve
from clew.contracts import Encoder, Head, Model
from clew.inputs import InputSpec, Tokens
from clew.models.bert import first_places, initialise
from clew.nn.dropout import Dropout
from clew.nn.linear import Linear


class MaskedLMHead(nn.Module):
    """norm(gelu(W h + b)), which the token embeddings, read backwards, turn into logits: (n, d) -> (n, d)."""

    def __init__(self, config: Any, vocab_size: int) -> None:
        super().__init__()
        self.dense = Linear(config.d_model, config.d_model)
        self.norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Tensor) -> Tensor:
        return self.norm(F.gelu(self.dense(hidden)))


@dataclass
class ClassifierOutput:
    """logits: (batch, classes), or (n, classes) of n tokens."""

    logits: Tensor


@dataclass
class PretrainingOutput:
    """hidden: (n, d), of the tokens at `batch.at`, for the vocabulary; next: (batch, 2) logits, [1] = B follows."""

    hidden: Tensor
    next: Tensor | None


class Headed(Model):
    """An encoder under a task's head."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config

    @property
    def backbone(self) -> Encoder:
        return self.encoder

    @property
    def max_length(self) -> int | None:
        return self.encoder.max_length

    def times_used(self) -> Mapping[int, float]:
        return self.encoder.times_used()

    def blocks(self) -> Sequence[nn.Module]:
        return self.encoder.blocks()

    def token_table(self) -> Tensor:
        return self.encoder.token_table()


class Pretraining(Headed):
    """An encoder that guesses hidden tokens and, with two outputs, whether text B goes on with text A (§3.1)."""

    heads = frozenset({"masked_lm"})

    def __init__(self, encoder: Encoder, spec: Tokens, n_outputs: int = 2) -> None:
        super().__init__(encoder)
        self.pooler = encoder.pooler() if n_outputs else None
        self.masked_lm = MaskedLMHead(encoder.config, spec.vocab_size)
        self.next_sentence = nn.Linear(encoder.width, 2) if n_outputs else None
        for head in (self.pooler, self.masked_lm, self.next_sentence):
            if head is not None:
                initialise(head, encoder.width)

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

    def output_table(self) -> tuple[Tensor, Tensor]:
        """Return weight (V, d), tied to the token embeddings, and bias (V,) of the logits."""
        return self.encoder.token_table(), self.masked_lm.bias


class _Linear(Headed):
    """Dropout and one linear layer over some of an encoder's states."""

    def __init__(self, encoder: Encoder, n_outputs: int, pooler: nn.Module) -> None:
        super().__init__(encoder)
        self.pooler = pooler
        self.dropout = Dropout(encoder.head_dropout)
        self.output, self.n_outputs = nn.Linear(encoder.width, n_outputs), n_outputs
        for head in (self.pooler, self.output):
            initialise(head, encoder.width)

    def pooled(self, batch: Any) -> Tensor:
        """Return what the linear layer makes of one vector an input: (batch, outputs)."""
        return self.output(self.dropout(self.pooler(self.encoder.pooled(batch))))


class SequenceClassification(_Linear):
    """Logits from one vector an input (§4.1): a text, a pair or an image -> (batch, classes); one output is a score."""

    heads = frozenset({"classify"})

    def __init__(self, encoder: Encoder, spec: InputSpec, n_outputs: int) -> None:
        super().__init__(encoder, n_outputs, encoder.pooler())

    def forward(self, batch: Any) -> ClassifierOutput:
        return ClassifierOutput(self.pooled(batch))


class TokenClassification(_Linear):
    """Logits from the states of the tokens at `batch.at` (§5.3): (n, classes)."""

    heads = frozenset({"tag"})

    def __init__(self, encoder: Encoder, spec: Tokens, n_outputs: int) -> None:
        super().__init__(encoder, n_outputs, nn.Identity())

    def forward(self, batch: TextBatch) -> ClassifierOutput:
        return ClassifierOutput(self.output(self.dropout(self.encoder(batch, batch.at).hidden)))


class MultipleChoice(_Linear):
    """A score of each choice from the vector of its text (§4.4): (batch, choices)."""

    heads = frozenset({"choose"})

    def __init__(self, encoder: Encoder, spec: Tokens, n_outputs: int) -> None:
        super().__init__(encoder, 1, encoder.pooler())
        self.choices = n_outputs

    def forward(self, batch: TextBatch) -> ClassifierOutput:
        return ClassifierOutput(self.pooled(batch).view(-1, self.choices))


@dataclass
class SpanOutput:
    """Scores of each token as the first and as the last one of the answer, (batch, time), -inf at padding."""

    start: Tensor
    end: Tensor


class SpanAnswering(_Linear):
    """Start and end vectors over all tokens (§4.2, §4.3); place 0, [CLS], says that there is no answer."""

    heads = frozenset({"answer"})

    def __init__(self, encoder: Encoder, spec: Tokens, n_outputs: int = 2) -> None:
        super().__init__(encoder, 2, nn.Identity())

    def forward(self, batch: TextBatch) -> SpanOutput:
        scores = self.output(self.encoder(batch).sequence()).masked_fill(~batch.mask[..., None], -torch.inf)
        start, end = scores.unbind(dim=-1)
        return SpanOutput(start, end)


class LastState(Model):
    """Logits from the state of a text's last token, the only one of a model that writes which has read all of it
    (Radford et al. 2018, §3.2; of rewards Ouyang et al. 2022, §3.5): W h + b, (batch, classes)."""

    heads = frozenset({"classify"})

    def __init__(self, body: Model, n_outputs: int) -> None:
        super().__init__()
        self.body, self.config = body, body.config
        self.dropout = Dropout(body.config.dropout)
        self.output = nn.Linear(body.config.d_model, n_outputs)
        initialise(self.output, body.config.d_model)

    def forward(self, batch: TextBatch) -> ClassifierOutput:
        hidden = self.body(batch.text).hidden  # padding on the right does no harm
        last = hidden[torch.arange(len(hidden), device=hidden.device), batch.mask.sum(dim=1) - 1]  # (batch, d)
        return ClassifierOutput(self.output(self.dropout(last)))

    @property
    def backbone(self) -> Model:
        return self.body

    @property
    def max_length(self) -> int | None:
        return self.body.max_length

    def blocks(self) -> Sequence[nn.Module]:
        return self.body.blocks()

    def token_table(self) -> Tensor:
        return self.body.token_table()


def sentence_vectors(encoder: Encoder, batch: TextBatch, pooling: Literal["mean", "cls"] = "mean") -> Tensor:
    """Return a vector of each text, (batch, d): the mean of its tokens' states, with [CLS] and [SEP], or [CLS]'s."""
    return encoder(batch).mean if pooling == "mean" else encoder.pooled(batch)


def with_head(head: Head, config: Choice, spec: InputSpec, n_outputs: int = 0) -> Any:
    """Return a new model of the kind that `config` names which gives what `head` says; n_outputs: classes.

    Raise RecipeError where that kind of model cannot.
    """
    return resolve("model", config.kind).with_head(head, config, spec, n_outputs)

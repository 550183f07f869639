"""Where every head of a model looks: the attention of each layer on one text, and what sums a head up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from clew.batches import PairBatch, TextBatch
from clew.contracts import Model
from clew.errors import ClewError
from clew.inspect.walks.places import read
from clew.nn.taps import Tap, capture, evaluating, parts_of_kind

MEAN = -1  # in the place of a head: the mean of all heads of its layer


@dataclass(frozen=True)
class Layer:
    """One layer of attention: row t of a head says how much the state of rows[t] takes from each of columns.

    name: its tap; weights: (heads, rows, columns), each row summing to 1.
    """

    name: str
    rows: list[str]
    columns: list[str]
    weights: Tensor

    def head(self, n: int) -> Tensor:
        """(rows, columns) of one head, or of MEAN. Raises ClewError where there is no such head."""
        if not MEAN <= n < len(self.weights):
            raise ClewError(f"{self.name} has heads 0 to {len(self.weights) - 1}", where=f"head {n}")
        return self.weights.mean(dim=0) if n == MEAN else self.weights[n]


def attention_taps(model: nn.Module) -> list[str]:
    """The names of a model's taps of attention weights, in the order in which it was built."""
    return [name for name in parts_of_kind(model, Tap) if name.endswith("weights")]


def pair_layers(model: Model, batch: PairBatch, source: list[str], target: list[str]) -> list[Layer]:
    """The attention of a translator on one pair, the target given: over the source, over the target, and between.

    source, target: the tokens, </s> included. A layer's sides are told by its name, as the model's parts are called.
    """
    out = []
    for name, weights in listen(model, batch).items():
        rows = source if name.startswith("encoder.") else target
        columns = target if name.startswith("decoder.") and "cross_attention" not in name else source
        out.append(Layer(name, rows, columns, weights[:, : len(rows), : len(columns)].cpu()))
    return out


def text_layers(model: Model, batch: TextBatch, tokens: list[str]) -> list[Layer]:
    """The attention of an encoder, or of a model that writes, on one text: of its tokens to one another."""
    n = len(tokens)
    seen = listen(model, batch)
    return [Layer(name, tokens, tokens, weights[:, :n, :n].cpu()) for name, weights in seen.items()]


def listen(model: Model, batch: Any) -> dict[str, Tensor]:
    """Run a model over a batch of one: tap → (heads, rows, columns). Raises ClewError where nothing attends."""
    with evaluating(model), listening(model) as seen:
        read(model, batch)
    return whole(seen)


@contextmanager
def listening(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Collect all attention weights while the block runs. Raises ClewError where nothing in the model attends."""
    names = attention_taps(model)
    if not names:
        raise ClewError("nothing in this model attends", where=type(model).__name__, fix="choose a run that attends")
    with capture(model, *names) as seen:
        yield seen


def whole(seen: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """The first row of what was captured, the steps of a recurrent decoder joined: tap → (heads, rows, columns)."""
    return {name: torch.cat([each[0] for each in weights], dim=1).float() for name, weights in seen.items()}


def entropy(weights: Tensor) -> Tensor:
    """H = -Σ_s w_s log₂ w_s of each row, in bits: (…, rows, columns) -> (…, rows). 0 looks at one token alone."""
    return -torch.special.xlogy(weights, weights).sum(dim=-1) / torch.log(torch.tensor(2.0))


def distance(weights: Tensor, at: Tensor | None = None) -> Tensor:
    """Σ_s w_s ‖p_t - p_s‖, how far row t looks: (…, rows, columns) -> (…, rows) (Dosovitskiy et al. 2021, app. D.7).

    at: (tokens, dimensions), where each token p stands, say the centres of patches in pixels; left out, tokens stand
    in a line, and the distance is in tokens.
    """
    rows, columns = weights.shape[-2:]
    if at is None:
        at = torch.arange(max(rows, columns))[:, None]
    at = at.to(weights)
    return (weights * torch.cdist(at[:rows], at[:columns])).sum(dim=-1)


def differences(weights: Tensor) -> Tensor:
    """½ Σ_s |a_s - b_s| of any two heads a and b, the mean over rows: (heads, rows, columns) -> (heads, heads).

    The share of its attention that one head places elsewhere than the other: 0 where they are alike, 1 where they
    never look at the same token.
    """
    return torch.stack([(weights - head).abs().sum(dim=-1).mean(dim=-1) / 2 for head in weights])


def received(weights: Tensor) -> Tensor:
    """The mean over rows of what each column gets: (…, rows, columns) -> (…, columns). The largest are salient."""
    return weights.mean(dim=-2)

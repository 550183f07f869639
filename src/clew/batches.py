"""What objectives and models are given: dataclasses of tensors, with their shapes. Every batch can move `to` a device.

`index` holds row numbers of the data, so that a bad batch can be named.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


@dataclass
class Batch:
    """Base of all batches."""

    def to(self, device: torch.device | str) -> Self:
        """Return the batch with every tensor on that device."""
        tensors = {each.name: value for each in fields(self) if torch.is_tensor(value := vars(self)[each.name])}
        return replace(self, **{name: value.to(device, non_blocking=True) for name, value in tensors.items()})

    @property
    def n_read(self) -> int:
        """What a model reads of it: real tokens of both sides, words, images. Speed and FLOPs count these."""
        raise NotImplementedError

    def row_numbers(self) -> list[int]:
        """Return the numbers of the data's rows that it was made of, where they are known."""
        return []


class Numbered(Batch):
    """Base of the batches that know which rows of the data they were made of."""

    index: Tensor

    def row_numbers(self) -> list[int]:
        return self.index.flatten().tolist()


@dataclass
class PairBatch(Numbered):
    """Source and target sentences, padded to the longest of the batch.

    source: (batch, source) ids, ending in </s>; source_mask: (batch, source) bool, True = a real token.
    target_in: (batch, target) ids, the target shifted right: <s> y_1 … y_n; target_out: y_1 … y_n </s>.
    target_mask: (batch, target) bool. index: (batch,).
    """

    source: Tensor
    source_mask: Tensor
    target_in: Tensor
    target_out: Tensor
    target_mask: Tensor
    index: Tensor

    @property
    def mask(self) -> Tensor:
        """Which tokens of what is read are real: the source's, (batch, source)."""
        return self.source_mask

    @property
    def n_tokens(self) -> int:
        """Real target tokens: what speed and the token budget count."""
        return int(self.target_mask.sum())

    @property
    def n_read(self) -> int:
        return int(self.source_mask.sum() + self.target_mask.sum())


@dataclass
class TextBatch(Numbered):
    """Texts and what is to be learned of each, padded to the longest of the batch.

    text: (batch, time) ids; mask: (batch, time) bool, True = a real token; segment: (batch, time), 0, or 1 in the
    second of two texts. label: (batch,) classes or scores; or (n,) classes of the tokens `at`; or (batch, 2) the first
    and last token of an answer. index: (batch,). at: (n,) places among the batch · time ones. follows: (batch,) 1 where
    the second text goes on with the first (next-sentence prediction). Where each choice of an example is a text of its
    own, they stand in neighbouring rows, label: (examples,).
    """

    text: Tensor
    mask: Tensor
    segment: Tensor
    label: Tensor
    index: Tensor
    at: Tensor | None = None
    follows: Tensor | None = None

    @property
    def n_read(self) -> int:
        return int(self.mask.sum())


@dataclass
class BagBatch(Numbered):
    """Texts as bags of features, one text after another.

    feature: (n,) which; weight: (n,) float, how much each counts; start: (batch,) where each text's begin among them.
    label: (batch,) classes or scores. index: (batch,).
    """

    feature: Tensor
    weight: Tensor
    start: Tensor
    label: Tensor
    index: Tensor

    @property
    def n_read(self) -> int:
        return len(self.feature)


@dataclass
class Block(Numbered):
    """Running text, cut into rows of one length: what a language model learns from.

    text: (batch, time) ids; target: (batch, time), the token that comes next. index: (batch,). position: (batch, time)
    places of the tokens in their documents, counted from where the row begins; None where no row holds the beginning of
    a second document. counted: (batch, time) bool, False where the next token is not to be learned; None: all are.
    """

    text: Tensor
    target: Tensor
    index: Tensor
    position: Tensor | None = None
    counted: Tensor | None = None

    @property
    def n_read(self) -> int:
        return self.text.numel()


@dataclass
class ImageBatch(Numbered):
    """Images of one size: pixels (batch, channels, height, width), label (batch,) classes, index (batch,)."""

    pixels: Tensor
    label: Tensor
    index: Tensor

    @property
    def n_read(self) -> int:
        return len(self.pixels)


@dataclass
class PreferenceBatch(Numbered):
    """Pairs of answers to a prompt, the preferred one of each before the other, in neighbouring rows.

    text: (2 pairs, time) ids, padded on the right; written: (2 pairs, time - 1) bool, True where the next token is of
    the answer. reference: (2 pairs,) its log-probability under the reference, in nats. index: (pairs,).
    """

    text: Tensor
    written: Tensor
    reference: Tensor
    index: Tensor

    @property
    def n_read(self) -> int:
        return self.text.numel()


@dataclass
class RollOut(Numbered):
    """Texts that a policy wrote, and what became of them.

    text: (batch, time) ids, padded on the right; the other tensors but index are (batch, time - 1), of the next tokens.
    written: bool, True where the next token was written by the policy. log_p, value: of the policy that wrote them;
    advantage, returns: see `clew.objectives.ppo.advantages`. index: (batch,) which of the roll-out's texts.
    reward, kl: means over the texts of the whole roll-out, for the log.
    """

    text: Tensor
    written: Tensor
    log_p: Tensor
    value: Tensor
    advantage: Tensor
    returns: Tensor
    index: Tensor
    reward: float = 0.0
    kl: float = 0.0

    def select(self, rows: Tensor) -> RollOut:
        """Return some of the texts."""
        names = [each.name for each in fields(self) if torch.is_tensor(vars(self)[each.name])]
        return replace(self, **{name: vars(self)[name][rows] for name in names})

    @property
    def n_read(self) -> int:
        return self.text.numel()


@dataclass
class CorpusBatch(Batch):
    """A slice of encoded running text.

    ids: (n,) int32 word ids; ends: (sentences,) int64, where each sentence ends in `ids`. seed: of what is drawn over
    this slice in this epoch, so that a resumed run draws the same.
    """

    ids: Tensor
    ends: Tensor
    seed: int

    @property
    def n_read(self) -> int:
        return len(self.ids)


@dataclass
class CooccurrenceBatch(Batch):
    """Entries of a co-occurrence matrix: rows, cols (n,) int32 words; counts (n,) float32, weighted by 1/distance."""

    rows: Tensor
    cols: Tensor
    counts: Tensor

    @property
    def n_read(self) -> int:
        return len(self.rows)

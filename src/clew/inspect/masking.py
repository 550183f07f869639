"""What a masked language model is shown and asked, on an example of its own text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clew.batches import TextBatch
from clew.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Asked:
    """A token that the model is asked for: what it reads there, what stood there, which of the three cases it is."""

    place: int
    read: str
    true: str
    case: Literal["hidden", "swapped", "kept"]


@dataclass(frozen=True)
class Example:
    """texts: the pieces of the first text and of the second, as they stand; follows: whether the second goes on with
    the first, None where there is one text; read: what the model reads; asked: what it is to say."""

    texts: list[list[str]]
    follows: bool | None
    read: list[str]
    asked: list[Asked]


def explain(batch: TextBatch, tokenizer: Tokenizer, row: int = 0) -> Example:
    """One row of a batch of pre-training."""
    assert batch.at is not None
    whole = batch.text.clone()
    whole.view(-1)[batch.at] = batch.label
    mask = batch.mask[row]
    true, read = (tokenizer.tokens(ids[row][mask].tolist()) for ids in (whole, batch.text))
    segment = batch.segment[row][mask].tolist()
    time = batch.text.shape[1]
    places = [int(at) - row * time for at in batch.at if row * time <= int(at) < (row + 1) * time]
    texts = [[t for t, s in zip(true, segment, strict=True) if s == which] for which in sorted({*segment})]
    return Example(
        texts, None if batch.follows is None else bool(batch.follows[row]), read,
        [Asked(place, read[place], true[place], case(read[place], true[place], tokenizer)) for place in places],
    )  # fmt: skip


def case(read: str, true: str, tokenizer: Tokenizer) -> Literal["hidden", "swapped", "kept"]:
    if read == tokenizer.specials.mask:
        return "hidden"
    return "kept" if read == true else "swapped"

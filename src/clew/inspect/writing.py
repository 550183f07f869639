"""What stood behind each token that a model wrote: its probability, and what else it might have been."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from clew.config import DecodeConfig
from clew.decode.sample import sample
from clew.decode.writer import writer
from clew.text.tokenizer import Tokenizer

OTHERS = 8  # of the likeliest tokens, which are shown beside each


@dataclass(frozen=True)
class Choice:
    """A token that might be written. p: its probability under the model; drawn: in what is drawn from, 0 where cut."""

    token: str
    p: float
    drawn: float


@dataclass(frozen=True)
class Written:
    """A token that was written: the piece of text that it ends ("" within a character), and the likeliest instead.

    others: best first by the model's probability, the token itself among them where it is one of them.
    """

    piece: str
    choice: Choice
    others: list[Choice]


def written(model: Any, tokenizer: Tokenizer, text: str, decode: DecodeConfig) -> Iterator[Written]:
    """Go on with a text as `LanguageModeling.predict` does, token by token, with what stood behind each.

    It ends with the document (the token that ends it is the last), with one of `decode.sample.stop`, or after
    `decode.max_length` tokens.
    """
    told: list[tuple[Tensor, Tensor]] = []
    (prompt,) = tokenizer.encode_prompts([text])
    steps = sample(
        writer(model, decode.precision), [prompt], decode.sample, steps=decode.max_length,
        watch=lambda logits, p: told.append((logits[0].softmax(dim=0), p[0])),
    )  # fmt: skip
    ids: list[int] = []
    shown = ""
    for token, _ in steps:
        p, drawn = told.pop()
        names = [int(token), *p.topk(min(OTHERS, len(p))).indices.tolist()]
        choices = [
            Choice(*each)
            for each in zip(tokenizer.tokens(names), p[names].tolist(), drawn[names].tolist(), strict=True)
        ]
        if names[0] == tokenizer.eos_id:
            yield Written("", choices[0], choices[1:])
            return
        ids.append(names[0])
        whole = tokenizer.decode_after(prompt, ids)
        ready = "" if whole.endswith("\ufffd") else whole[len(shown) :]
        yield Written(ready, choices[0], choices[1:])
        shown += ready
        if any(stop in whole for stop in decode.sample.stop):
            return

"""The special tokens of a vocabulary, found by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers as hf

from clew.errors import VocabularyError

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")  # in this order: their ids in a vocabulary of our own are 0, 1, 2, 3
MASK = "<mask>"  # 4, where the task asks for it

END = "<|endoftext|>"  # stands between the documents of a language model, whatever role is asked for

# pad, bos, eos, unk and mask as they are called by us and RoBERTa, by BERT, by ALBERT, by T5; by our characters, by
# GPT-2; by Llama 2 and by Llama 3, which pad with the end.
NAMES = (
    (*SPECIALS, MASK),
    ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"),
    ("<pad>", "[CLS]", "[SEP]", "<unk>", "[MASK]"),
    ("<pad>", "<pad>", "</s>", "<unk>", "[MASK]"),
    (END, END, END, "<unk>", "[MASK]"),
    (END, END, END, END, "[MASK]"),
    ("</s>", "<s>", "</s>", "<unk>", MASK),
    ("<|end_of_text|>", "<|begin_of_text|>", "<|end_of_text|>", "<|end_of_text|>", MASK),
)


def content(token: Any) -> str | None:
    """Return the text of a token, which files of transformers have as it is or in an object; else nothing."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None


@dataclass(frozen=True)
class Specials:
    """The names of the special tokens by role; [CLS] is BERT's bos, [SEP] its eos; `mask` is None where there is none.

    `others` are further special tokens of a published vocabulary, such as [unused1] where it is marked as special.
    """

    pad: str
    bos: str
    eos: str
    unk: str
    mask: str | None
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, inner: hf.Tokenizer, told: Mapping[str, Any] | None = None) -> Specials:
        """Those of a vocabulary, whatever their ids. Raises VocabularyError where a role has no token.

        told: what `tokenizer_config.json` says, which counts where it names begin and end, or where the vocabulary has
        no names that are known; the end then stands for the roles that nothing has (padding, as a rule).
        """

        def named(*roles: str) -> str | None:
            names = [content((told or {}).get(f"{role}_token")) for role in roles]
            return next((name for name in names if name and inner.token_to_id(name) is not None), None)

        pad, bos, eos, unk = named("pad"), named("cls", "bos"), named("sep", "eos"), named("unk")
        if bos and eos:
            return cls.with_others(inner, (pad or eos, bos, eos, unk or eos), named("mask"))
        for *roles, mask in NAMES:
            if all(inner.token_to_id(name) is not None for name in roles):
                return cls.with_others(inner, roles, mask if inner.token_to_id(mask) is not None else None)
        if eos:
            return cls.with_others(inner, (pad or eos, bos or pad or eos, eos, unk or eos), named("mask"))
        raise VocabularyError(
            "the vocabulary lacks special tokens",
            fix=f"it needs {' '.join(NAMES[0][:4])}, or {' '.join(NAMES[1][:4])}, under any ids; or a "
            "tokenizer_config.json that names its eos_token, and others that it has",
        )

    @classmethod
    def with_others(cls, inner: hf.Tokenizer, roles: Sequence[str], mask: str | None) -> Specials:
        """Return those with these roles (pad, bos, eos, unk), and what else a vocabulary marks as special."""
        known = {token.content for token in inner.get_added_tokens_decoder().values() if token.special}
        pad, bos, eos, unk = roles
        return cls(pad, bos, eos, unk, mask, tuple(sorted(known - {*roles, mask})))

    @property
    def all(self) -> list[str]:
        return [*dict.fromkeys(n for n in (self.pad, self.bos, self.eos, self.unk, self.mask, *self.others) if n)]

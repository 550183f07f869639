"""The special tokens of a vocabulary, found by their names."""

from __future__ import annotations

from dataclasses import dataclass

import tokenizers as hf

from clew.errors import VocabularyError

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")  # in this order: their ids in a vocabulary of our own are 0, 1, 2, 3
MASK = "<mask>"  # 4, where the task asks for it

END = "<|endoftext|>"  # stands between the documents of a language model, whatever role is asked for

# pad, bos, eos, unk and mask as they are called by us and RoBERTa, by BERT, by ALBERT, by T5; by our characters, by
# GPT-2.
NAMES = (
    (*SPECIALS, MASK),
    ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"),
    ("<pad>", "[CLS]", "[SEP]", "<unk>", "[MASK]"),
    ("<pad>", "<pad>", "</s>", "<unk>", "[MASK]"),
    (END, END, END, "<unk>", "[MASK]"),
    (END, END, END, END, "[MASK]"),
)


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
    def of(cls, inner: hf.Tokenizer) -> Specials:
        """Those of a vocabulary, whatever their ids. Raises VocabularyError where a role has no token."""
        for *roles, mask in NAMES:
            if all(inner.token_to_id(name) is not None for name in roles):
                pad, bos, eos, unk = roles
                found = mask if inner.token_to_id(mask) is not None else None
                known = {token.content for token in inner.get_added_tokens_decoder().values() if token.special}
                return cls(pad, bos, eos, unk, found, tuple(sorted(known - {*roles, mask})))
        raise VocabularyError(
            "the vocabulary lacks special tokens",
            fix=f"it needs {' '.join(NAMES[0][:4])}, or {' '.join(NAMES[1][:4])}, under any ids",
        )

    @property
    def all(self) -> list[str]:
        return [*dict.fromkeys(n for n in (self.pad, self.bos, self.eos, self.unk, self.mask, *self.others) if n)]

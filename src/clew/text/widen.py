"""More words for a tokenizer of words: those that no training text has, but somebody knows."""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers as hf
from tokenizers import models

from clew.text.tokenizer import Tokenizer


def widened(tokenizer: Tokenizer, words: Sequence[str], size: int) -> Tokenizer:
    """A word tokenizer that knows `words` too, from the first on, up to `size` tokens; ids that there are stay.

    A word has a token after a space ("▁word") and, where punctuation parts words, one after a mark ("-word"): all get
    the first before any gets the second. What `tokenizer` would never make one token of (another case, a mark within)
    is left out.
    """
    inner = hf.Tokenizer.from_str(tokenizer.inner.to_str())
    vocabulary = inner.get_vocab()
    for before in ("", "-"):
        for word in words:
            if len(vocabulary) >= size:
                break
            pieces = inner.pre_tokenizer.pre_tokenize_str(tokenizer.normalise(before + word))
            token = pieces[-1][0] if pieces else ""
            if len(pieces) == 1 + len(before) and token.removeprefix("▁") == word:
                vocabulary.setdefault(token, len(vocabulary))
    inner.model = models.WordLevel(vocabulary, unk_token=tokenizer.specials.unk)
    return Tokenizer(inner, split_specials=tokenizer.split_specials)

"""Outputs that repeat themselves, as those of a model do that has learned too little to stop."""

from __future__ import annotations

import re
from collections.abc import Sequence

OVER_AND_OVER = re.compile(r"(.{1,40}?)\1{4,}", re.DOTALL)  # the same five times in a row


def repeating(outputs: Sequence[str]) -> float:
    """Return the share, from 0 to 1, of outputs in which something with a letter stands five times in a row."""
    found = sum(any(re.search(r"[^\W\d_]", m[1]) for m in OVER_AND_OVER.finditer(f"{text} ")) for text in outputs)
    return found / max(1, len(outputs))

"""SentencePiece's model files (`spiece.model`, `tokenizer.model`) as tokenizers: read by their wire format alone.

A file is a protobuf message, which is fields of (number, value) one after another. Five of them say all there is: the
pieces with their scores and kinds, which algorithm, whether bytes stand in for unknown letters, and how text is
normalised (sentencepiece_model.proto of google/sentencepiece). The tokenizers that are built give transformers' ids.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers

from clew.errors import RunError

UNIGRAM, BPE = 1, 2
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4
MARK = "▁"


@dataclass(frozen=True)
class Pieces:
    """A model file: each piece with its score (Unigram's log-probability) and kind; `charsmap` normalises text."""

    pieces: list[tuple[str, float, int]]
    algorithm: int = UNIGRAM
    byte_fallback: bool = False
    charsmap: bytes = b""
    space_before: bool = True  # a text begins with a space

    @property
    def unknown(self) -> int:
        """The id of the unknown piece."""
        return next((i for i, (_, _, kind) in enumerate(self.pieces) if kind == UNKNOWN), 0)


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field of a message. Raise ValueError where it is cut or no message."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = 0
        for shift in range(0, 70, 7):
            if at >= len(data):
                raise ValueError("it ends inside a number")
            byte, at = data[at], at + 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a number of more than ten bytes")

    while at < len(data):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            yield number, varint()
            continue
        size = varint() if wire == 2 else {1: 8, 5: 4}.get(wire, -1)
        if number == 0 or size < 0 or at + size > len(data):
            raise ValueError(f"no field of such a file begins at byte {at}")
        at += size
        yield number, data[at - size : at]


def read(path: Path) -> Pieces:
    """Read a model file. Raise RunError where it is none, or of an algorithm other than Unigram and BPE."""
    pieces: list[tuple[str, float, int]] = []
    algorithm, byte_fallback, charsmap, space_before = UNIGRAM, False, b"", True
    try:
        for number, value in fields(path.read_bytes()):
            if number in (1, 2, 3) and not isinstance(value, bytes):
                raise ValueError(f"field {number} is a number")
            part = dict(fields(value)) if number in (1, 2, 3) and isinstance(value, bytes) else {}
            if number == 1:
                text, score = part.get(1, b""), part.get(2, bytes(4))
                if not isinstance(text, bytes) or not isinstance(score, bytes):
                    raise ValueError(f"piece {len(pieces)} has no text")
                pieces.append((text.decode(), struct.unpack("<f", score)[0], int(part.get(3, 1))))
            elif number == 2:
                algorithm, byte_fallback = int(part.get(3, UNIGRAM)), bool(part.get(35, 0))
            elif number == 3:
                charsmap, space_before = bytes(part.get(2, b"")), bool(part.get(3, 1))
        if not pieces:
            raise ValueError("it has no pieces")
    except (ValueError, TypeError, struct.error, OSError) as error:
        raise RunError(f"this is no SentencePiece model: {error}", where=str(path), fix="fetch it again") from error
    if algorithm not in (UNIGRAM, BPE):
        raise RunError("its pieces are neither Unigram's nor BPE's", where=str(path), fix="only those two can be read")
    return Pieces(pieces, algorithm, byte_fallback, charsmap, space_before)


def built(found: Pieces) -> hf.Tokenizer:
    """Return the tokenizer of a model file, without any template.

    Unigram, as T5 has it: text between white space is parted, each word with the space before it. BPE, as Llama has it:
    every space is kept.
    """
    inner = hf.Tokenizer(bpe(found) if found.algorithm == BPE else unigram(found))
    first = [normalizers.Precompiled(found.charsmap)] if found.charsmap else []
    if first:
        inner.normalizer = first[0]
    if found.algorithm == BPE:
        scheme = "first" if found.space_before else "never"
        inner.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme=scheme, split=False)
        strip = [decoders.Strip(content=" ", left=1)] if found.space_before else []
        steps = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        inner.decoder = decoders.Sequence(steps)
    else:
        scheme = "always" if found.space_before else "never"
        spaces = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme=scheme, split=True)
        inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
        inner.decoder = decoders.Metaspace(replacement=MARK, prepend_scheme=scheme, split=True)
    named = [(text, kind) for text, _, kind in found.pieces if kind in (CONTROL, USER_DEFINED)]
    inner.add_tokens([hf.AddedToken(text, normalized=False, special=kind == CONTROL) for text, kind in named])
    unknown = found.pieces[found.unknown][0]
    inner.add_special_tokens([hf.AddedToken(unknown, normalized=False, special=True)])
    return inner


def unigram(found: Pieces) -> models.Unigram:
    return models.Unigram([(text, score) for text, score, _ in found.pieces], found.unknown, found.byte_fallback)


def bpe(found: Pieces) -> models.BPE:
    """Return the pieces with their merges: every way to make a piece of two others, in the order of the pieces."""
    vocabulary = {text: i for i, (text, _, _) in enumerate(found.pieces)}
    merges = []
    for piece, rank in vocabulary.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((rank, len(left), len(right), left, right))
    pairs = [(left, right) for *_, left, right in sorted(merges)]
    unknown = found.pieces[found.unknown][0]
    return models.BPE(vocabulary, pairs, unk_token=unknown, fuse_unk=True, byte_fallback=found.byte_fallback)

"""A file's text as UTF-8 bytes whose lines end at \\n, however it is packed, encoded and ended: by its contents."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import stat
import tempfile
import unicodedata
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from clew.errors import DataError

HEAD = 1 << 16  # bytes that are looked at
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
PACKED: dict[bytes, tuple[str, Callable[..., Any]]] = {
    b"\x1f\x8b": ("gzip", gzip.open), b"BZh": ("bzip2", bz2.open), b"\xfd7zXZ\0": ("xz", lzma.open),
}  # fmt: skip
SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz"}
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
NOT_TEXT = {
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet of old Excel", "save the sheet as CSV"),
    b"%PDF-": ("a PDF", "extract its text"),
    b"\x28\xb5\x2f\xfd": ("packed by zstandard", "unpack it: zstd -d"),
    b"ARROW1": ("an Arrow file", "save it as Parquet"),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV"),
}
MULTIBYTE = ("shift_jis", "euc_jp", "gb18030", "euc_kr", "big5")

OTHER_SCRIPTS = ("cp1251", "cp1253")  # Cyrillic, Greek: within a word there are no Latin letters


@dataclass(frozen=True)
class Opened:
    """How a file's bytes become text. encoding: as Python names it; ends: b"\\r" where lines end so, as on old Macs."""

    path: Path
    packed: str
    encoding: str
    ends: bytes
    head: bytes  # the beginning, unpacked, as UTF-8 where it is or can be made so

    @property
    def plain(self) -> bool:
        """Whether readers of UTF-8 that unpack by suffix can read it as it lies there."""
        usual = self.encoding in ("utf-8", "utf-8-sig") and self.ends == b"\n"
        return usual and SUFFIXES.get(self.path.suffix, "") == self.packed

    def open(self) -> BinaryIO:
        """Open the text as UTF-8 bytes, line ends as \\n or \\r\\n; a BOM is left out but of UTF-8."""
        unpack = next((opener for name, opener in PACKED.values() if name == self.packed), None)
        stream: BinaryIO = unpack(self.path, "rb") if unpack else self.path.open("rb")
        if self.encoding in ("utf-8", "utf-8-sig") and self.ends == b"\n":
            return stream
        return io.BufferedReader(Recoded(stream, self.encoding, self.ends, self.path), HEAD)

    def __str__(self) -> str:
        parts = [f"packed by {self.packed}" if self.packed else "", self.encoding.upper().removesuffix("-SIG")]
        parts.append("lines ended by CR" if self.ends == b"\r" else "")
        return ", ".join(filter(None, parts))


class Recoded(io.RawIOBase):
    """A stream of another encoding, or of other line ends, as UTF-8. Raises DataError for bytes that it cannot be."""

    def __init__(self, stream: BinaryIO, encoding: str, ends: bytes, path: Path) -> None:
        self.stream, self.encoding, self.ends, self.path = stream, encoding, ends, path
        utf8 = encoding in ("utf-8", "utf-8-sig")
        self.decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if utf8 else "strict")
        self.rest, self.lines = b"", 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.rest:
            raw = self.stream.read(HEAD)
            try:
                text = self.decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                raise DataError(
                    f"this is not {self.encoding}: {error.reason}", where=f"{self.path}, at line {self.lines} or later",
                    fix="set data.encoding to what it was saved as, or leave it out for UTF-8",
                ) from error  # fmt: skip
            if self.ends == b"\r":
                text = text.replace("\r", "\n")
            self.lines += text.count("\n")
            self.rest = text.encode("utf-8", "surrogateescape")
            if not raw:
                break
        n = min(len(buffer), len(self.rest))
        buffer[:n], self.rest = self.rest[:n], self.rest[n:]
        return n

    def close(self) -> None:
        self.stream.close()
        super().close()


def look(path: Path, encoding: str = "") -> Opened:
    """Look at the beginning of a file. Raise DataError for what holds no text, and for an unknown encoding."""
    head = beginning(path.open)
    for magic, (what, fix) in NOT_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"this is {what}, not text", where=str(path), fix=fix)
    packed, unpack = next((found for magic, found in PACKED.items() if head.startswith(magic)), ("", None))
    if unpack:
        head = beginning(lambda mode: unpack(path, mode))
    elif path.suffix in SUFFIXES and not utf8(head):
        packed = SUFFIXES[path.suffix]  # damaged: reading says so
    if encoding:
        try:
            codecs.lookup(encoding)
        except LookupError as error:
            raise DataError(
                f'there is no encoding "{encoding}"', where="data.encoding",
                fix="utf-8, cp1252, latin-1, utf-16, shift_jis, …",
            ) from error  # fmt: skip
        name = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    else:
        name = next((name for mark, name in MARKS.items() if head.startswith(mark)), "") or wide(head) or "utf-8"
    if name not in ("utf-8", "utf-8-sig"):
        head = codecs.getincrementaldecoder(name)("replace").decode(head).encode("utf-8", "surrogatepass")
    ends = b"\r" if b"\r" in head and b"\n" not in head.rstrip(b"\r\n") and b"\r" in head.rstrip(b"\r\n") else b"\n"
    head = head.removeprefix(codecs.BOM_UTF8)
    return Opened(path, packed, name, ends, head.replace(b"\r", b"\n") if ends == b"\r" else head)


def beginning(opener: Callable[[str], Any]) -> bytes:
    """As many of the first bytes as can be read: what is damaged is told by who reads on."""
    head = b""
    with suppress(*DAMAGED), opener("rb") as stream:
        while len(head) < HEAD and (more := stream.read(4096)):
            head += more
    return head


def wide(head: bytes) -> str:
    """UTF-16 without a mark: every other byte of mostly Latin text is 0."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 5 < len(head) or min(even, odd) * 10 > max(even, odd):
        return ""
    return "utf-16-be" if even > odd else "utf-16-le"


def utf8(raw: bytes) -> bool:
    """Whether bytes are UTF-8, a letter cut off at their end aside."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(raw)
    except UnicodeDecodeError:
        return False
    return True


def advice(raw: bytes) -> str:
    """What to do about bytes that are not UTF-8: encodings that they may be in, with what they would read."""
    found = [f'data.encoding="{name}" (reads "{text}")' for name, text in likely(raw)[:3]]
    return "set " + ", or ".join(found) if found else "set data.encoding to what the file was saved as"


def likely(raw: bytes) -> list[tuple[str, str]]:
    """Encodings in which bytes are letters, the likeliest first, and what they read; a rule of thumb that only names.

    Many bytes beyond ASCII side by side are another script than Latin; CJK encodings must give CJK letters.
    """
    high = sum(byte >= 0x80 for byte in raw)
    names = ("cp1252", "cp1250", "cp1251") if high * 3 < len(raw) else (*MULTIBYTE, "cp1251", "cp1253", "cp1252")
    found = []
    for name in names:
        with suppress(UnicodeDecodeError):
            text = raw.decode(name)
            beyond = [c for c in text if c > "\x7f"]
            mixed = name in OTHER_SCRIPTS and re.search(r"[A-Za-z][^\x00-\x7f]|[^\x00-\x7f][A-Za-z]", text)
            right = not mixed and all(plausible(c, name) for c in beyond)
            at = next((i for i, c in enumerate(text) if c > "\x7f"), 0)
            if beyond and right:
                found.append((name, " ".join(text[max(0, at - 15) : at + 15].split()), likelihood("".join(beyond))))
    return [(name, shown) for name, shown, _ in sorted(found, key=lambda each: -each[2])]


def likelihood(text: str) -> float:
    """How much a text looks like Japanese (its share of kana) or Korean (Hangul alone: with Han, it is Chinese)."""
    kana, hangul = (sum(a <= c <= b for c in text) / len(text) for a, b in ("\u3041\u30ff", "\uac00\ud7a3"))
    return kana or (hangul if hangul > 0.9 else -hangul)


def plausible(c: str, encoding: str) -> bool:
    """Whether a character is what texts in an encoding are made of."""
    if encoding in MULTIBYTE:
        wide = "\u3000" <= c < "\uff61" or c > "\uff9f"  # half-width kana are what other encodings read as
        return wide and unicodedata.category(c) in ("Lo", "Po", "Ps", "Pe", "Lm")
    if encoding in OTHER_SCRIPTS:
        return unicodedata.name(c, "").startswith(("CYRILLIC", "GREEK")) or unicodedata.category(c)[0] == "P"
    return unicodedata.category(c)[0] in "LPSZ"


def readable(path: str | Path) -> Path:
    """The file itself; of a pipe, such as <(zcat …), a copy of all that comes through it, for it can be read once."""
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except OSError:
        return path
    return spooled(path, os.stat(path).st_ino) if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else path


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="clew-pipes-")  # gone with the process


@cache
def spooled(path: Path, inode: int) -> Path:
    """What comes through a pipe, as a file that lasts as long as the process."""
    place = Path(_folder().name) / f"{inode}-{path.name}"
    with path.open("rb") as pipe, place.open("wb") as file:
        while block := pipe.read(1 << 20):
            file.write(block)
    return place

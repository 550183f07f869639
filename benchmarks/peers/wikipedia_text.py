"""The text that makers of word vectors read. Standard library only."""

from __future__ import annotations

import lzma
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def find_data(given: str | None) -> Path:
    """The folder that holds wikipedia_en and the sets that judge: as given, or where `clew data` finds them."""
    if given:
        return Path(given)
    code = "from clew.data.catalogue import locate; print(locate('wikipedia_en').parent)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"wikipedia_en is not found; give its folder by --data or $CLEW_DATA\n{found.stderr[-500:]}")
    return Path(found.stdout.strip())


def lines_of(data: Path, megabytes: float | None) -> Iterator[str]:
    """The lines of the text, up to that size."""
    left = float("inf") if megabytes is None else megabytes * 1e6
    for path in sorted((data / "wikipedia_en").glob("wiki_*.txt.xz")):
        with lzma.open(path, "rt", encoding="utf-8", newline="\n") as file:
            for line in file:
                left -= len(line.encode())
                if left < 0:
                    return
                yield line


def write_text(path: Path, lines: Iterator[str], plain: bool) -> int:
    """Write the text, `plain`: in lower case, words apart from punctuation. Returns how many words it has."""
    words = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            text = " ".join(re.findall(r"\w+", line.lower())) + "\n" if plain else line
            words += len(text.encode().split())  # bytes are parted at ASCII white space, as all peers do
            file.write(text)
    return words


def repeat(path: Path, text: Path, megabytes: float) -> int:
    """Write `text` over and over until it has that size; returns how many times."""
    times = math.ceil(megabytes * 1e6 / text.stat().st_size)
    with path.open("wb") as file:
        for _ in range(times):
            with text.open("rb") as one:
                shutil.copyfileobj(one, file)
    return times

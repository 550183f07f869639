"""What a file is taken for, found out from its contents before a row of it is read; the one place that decides it.

A suffix only breaks ties. What would have to be guessed is a DataError that names what was seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clew.data.dialect import COMMA, TAB, Dialect, dialect_of, might_be_header
from clew.data.lines import did_you_mean
from clew.data.opened import Opened, look
from clew.errors import DataError

SUFFIXES = {
    ".tsv": "table", ".tab": "table", ".csv": "table", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet", ".conll": "conll", ".conllu": "conllu",
}  # fmt: skip
PACKED = (".gz", ".bz2", ".xz")
DATA = re.compile(r'\s*\{[^\[{]*"data"\s*:\s*\[\s*')  # SQuAD's form, and flat rows in the same place
ARRAY = re.compile(r"\s*\[\s*(?=[{\]])")
BIO = re.compile(r"O|[BIESULM][-_]\S+")
LONG = 1 << 15  # bytes of a beginning, past which its last line may be cut
NO_TEXT = Opened(Path(), "", "", b"\n", b"")
NAMES = {
    "lines": "a text a line", "table": "a table", "jsonl": "JSON, a row a line", "json": "JSON",
    "parquet": "Parquet", "conll": "CoNLL, a word a line", "conllu": "CoNLL-U",
}  # fmt: skip


@dataclass(frozen=True)
class Understood:
    """A file, what it was taken for, and how its rows are read. columns: its own, in order, where it has names."""

    path: Path
    format: str
    opened: Opened
    columns: tuple[str, ...] = ()
    dialect: Dialect = field(default_factory=lambda: TAB)
    header: bool = False  # the first row names the columns
    note: str = ""

    @property
    def encoding(self) -> str:
        return self.opened.encoding

    def __str__(self) -> str:
        parts = [NAMES[self.format]] + ([str(self.opened)] if self.format != "parquet" else [])
        if self.format == "table":
            parts.append(str(self.dialect))
        if self.columns:
            parts.append(f"columns: {', '.join(name or '(no name)' for name in self.columns)}")
        return f"{self.path.name}: " + ", ".join([*parts, self.note] if self.note else parts)


def understand(
    path: Path, columns: Sequence[str] = (), *, encoding: str = "", delimiter: str = "", names: Sequence[str] = (),
    alone: bool = True, known: bool = False,
) -> Understood:  # fmt: skip
    """Find out what a file is. columns: those that are wanted; names: its own, where it has no header.

    alone: what is wanted of several columns is in this file. known: of a catalogued set; its format is that of its
    suffix, and quotes in .tsv are letters.
    Raises DataError where it holds no text, or lacks a column, or where its columns would be guessed.
    """
    suffix = suffix_of(path)
    if suffix == "parquet" or parquet(path):
        return Understood(path, "parquet", look(path) if not parquet(path) else NO_TEXT)
    opened = look(path, encoding)
    text = opened.head.decode("utf-8", "surrogateescape")
    if known:
        dialect = (
            COMMA if path.name.removesuffix(path.suffix if path.suffix in PACKED else "").endswith(".csv") else TAB
        )
        if suffix != "table" and (suffix or len(columns) == 1):
            return Understood(path, suffix or "lines", opened, tuple(names))
        return table(path, opened, columns, dialect, [dialect.split(text)], names, known=True)
    if suffix != "table" and (found := by_content(text, suffix)):
        return Understood(path, found, opened, tuple(names))
    return tabular(path, opened, text, suffix, columns, delimiter, names, alone)


@dataclass(frozen=True)
class Sniffed:
    """What a file is by itself, when nothing is asked of it; names: its columns, or as many fields as it has."""

    format: str
    names: tuple[str, ...] = ()
    header: bool = True


def sniff(path: Path) -> Sniffed:
    """Look what a file is: as `understand`, but that a text whose every line has as many tabs is a table too."""
    suffix = suffix_of(path)
    if suffix == "parquet" or parquet(path):
        return Sniffed("parquet")
    opened = look(path)
    text = opened.head.decode("utf-8", "surrogateescape")
    if suffix != "table" and (found := by_content(text, suffix)):
        return Sniffed(found, ("words", "tags") if found.startswith("conll") else ())
    dialect, rows = dialect_of(whole(text, opened), path, ())
    tabs = dialect.delimiter == "\t" and len(rows) > 1 and {len(row) for row in rows} == {len(rows[0])} != {1}
    if suffix != "table" and not tabs:
        return Sniffed("lines")
    if not rows[0]:
        raise DataError("there is no row in it", where=str(path), fix="give a table that holds some")
    names = tuple(name.strip() for name in rows[0])
    return Sniffed("table", names, header_names(names, ("source", "target")) or might_be_header(rows))


def whole(text: str, opened: Opened) -> str:
    """A beginning without its last line, which may be cut."""
    return text[: text.rfind("\n") + 1] or text if len(opened.head) >= LONG else text


def tabular(
    path: Path, opened: Opened, text: str, suffix: str, columns: Sequence[str], delimiter: str, names: Sequence[str],
    alone: bool,
) -> Understood:  # fmt: skip
    """A table, or a text a line."""
    dialect, rows = dialect_of(whole(text, opened), path, columns, delimiter)
    named = len(rows[0]) > 1 and header_names(rows[0], columns)
    if suffix == "table" or delimiter or names or named or (alone and len(columns) > 1):
        return table(path, opened, columns, dialect, rows, names)
    return Understood(path, "lines", opened)


def suffix_of(path: Path) -> str:
    """The format that a file's name claims, compression aside; "" for a name that claims none."""
    suffix = (Path(path.stem).suffix if path.suffix in PACKED else path.suffix).lower()
    return SUFFIXES.get(suffix, "")


def parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def by_content(text: str, suffix: str) -> str:
    """jsonl, json, conll or conllu, where the beginning of a text says so or the suffix does; "" otherwise."""
    if suffix in ("conll", "conllu"):
        return suffix
    first, _, rest = text.lstrip().partition("\n")
    if ARRAY.match(text):
        return "json"
    if first.startswith("{"):
        alone = object_of(first) is not None
        if DATA.match(text) and not (alone and rest.strip()):
            return "json"
        if alone or suffix:
            return "jsonl"
    return "jsonl" if suffix in ("jsonl", "json") else conll_of(text)


def object_of(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def conll_of(text: str) -> str:
    """conll where lines of as many fields come in blocks, and the last field of (nearly) each is a tag of spans."""
    blocks = [block for block in re.split(r"\n[ \t\r]*(?:\n[ \t\r]*)*\n", text.strip("\r\n")) if block.strip()]
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    if lines and any(line.startswith("# sent_id") for line in lines):
        return "conllu"
    tokens = [line.split("\t") if "\t" in line else line.split() for line in lines[:-1] or lines]
    tokens = [fields for fields in tokens if fields and not fields[0].startswith(("-DOCSTART-", "#"))]
    if len(blocks) < 2 or len(tokens) < 3:
        return ""
    tagged = sum(len(fields) > 1 and bool(BIO.fullmatch(fields[-1].strip())) for fields in tokens)
    return "conll" if tagged >= 0.9 * len(tokens) else ""


def header_names(first: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether the first row holds any wanted name, letter case aside."""
    lowered = [name.strip().lower() for name in first]
    return any(column.lower() in lowered for column in columns)


def table(
    path: Path, opened: Opened, columns: Sequence[str], dialect: Dialect, rows: Sequence[Sequence[str]],
    names: Sequence[str], known: bool = False,
) -> Understood:  # fmt: skip
    """A table with its columns: those of its header, or `names`, or, of rows as wide as wanted, those in their order.

    Raises DataError where a wanted column is not there, and where the first row may as well be a header.
    """
    where = f"{path}:{1 + dialect.skip}"
    first = [name.strip() for name in rows[0]] if rows else []
    if not first:
        return Understood(path, "table", opened, tuple(columns), dialect)
    if header := header_names(first, columns) and not (names and list(names) != first and not known):
        wide = [len(row) for row in rows[1:]]
        if wide and all(n == len(first) + 1 for n in wide):
            first = ["", *first]  # R's write.table gives row names no name
        require(columns, first, where)
        return Understood(path, "table", opened, tuple(first), dialect, header)
    if names:
        require(columns, names, where)
        if len(first) != len(names):
            raise fields_for(first, names, where)
        return Understood(path, "table", opened, tuple(names), dialect)
    if len(first) < len(columns) or (known and len(first) != len(columns)):
        raise fields_for(first, columns, where)
    if might_be_header(rows) or len(first) != len(columns):
        raise unnamed(first, columns, where)
    said = f"no header: its columns are taken, in their order, as {', '.join(columns)}"
    return Understood(path, "table", opened, tuple(columns), dialect, note="" if known else said)


def fields_for(first: Sequence[str], names: Sequence[str], where: str) -> DataError:
    return DataError(
        f"{len(first)} fields in the first line for {len(names)} columns ({', '.join(names)})", where=where,
        fix="separate the fields of a table by tabs (.csv: commas), set data.delimiter, or give one text file per "
        "column",
    )  # fmt: skip


def unnamed(first: Sequence[str], columns: Sequence[str], where: str) -> DataError:
    """The error where the first row names none of the columns: it may be a header with other names, or a row."""
    shown = ", ".join(f'"{name[:40]}"' for name in first)
    lacking = " or ".join(f'"{column}"' for column in columns)
    return DataError(
        f"there is no column {lacking}: the first line has {shown}", where=where,
        fix="where these are names of columns, name those that are meant in data.columns and in the task; where they "
        f"are a row, say what the {len(first)} columns are called: data.names={list(columns)!r}".replace("'", '"'),
    )  # fmt: skip


def require(columns: Sequence[str], known: Sequence[str], where: str) -> None:
    """DataError where a wanted column is not among those there are, or there are two of its name."""
    for column in columns:
        if column not in known:
            fix = did_you_mean(column, known) or next(
                (f'did you mean "{k}"?' for k in known if k.lower() == column.lower()), ""
            )
            raise DataError(
                f'there is no column "{column}" (columns: {", ".join(known)})', where=where,
                fix=fix or "name columns that are there: data.columns, and the task's own",
            )  # fmt: skip
        if list(known).count(column) > 1:
            raise DataError(f'there are two columns "{column}"', where=where, fix="give them different names")

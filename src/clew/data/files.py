"""Your own files as training data."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from clew.data.lines import expand
from clew.data.readers import read
from clew.data.rows import Rows
from clew.data.source import Source, SourceConfig
from clew.errors import DataError


class FilesConfig(SourceConfig):
    """Files per split: one per column (parallel text), or tables with the columns (TSV, CSV, JSON, Parquet).

    Tagged words: CoNLL-U (words, upos, lemma, …) and CoNLL (words, 2, 3, …, tags); questions: SQuAD's JSON (id, title,
    context, question, answers). A folder stands for the files in it, a pattern ("part-*.csv") for what it
    matches. What a file is, its encoding and its delimiter are found out from its contents, and said.
    """

    kind: str = "files"
    train: tuple[str, ...] = Field(min_length=1)
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    columns: tuple[str, ...] = Field(min_length=1)
    names: tuple[str, ...] = ()  # what the columns of a table without a header (or of CoNLL) are called, in their order
    encoding: str = ""  # cp1252, shift_jis, …; "": UTF-8, or what a mark at the beginning says
    delimiter: str = ""  # what parts the fields of a table; "": found out

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """The files of each split that has any."""
        given = {"train": self.train, "valid": self.valid, "test": self.test}
        return {split: files for split, files in given.items() if files}


class Files(Source):
    """Rows from files; without `valid` files some of the training rows are held out for validation."""

    Config = FilesConfig

    def __init__(self, config: FilesConfig) -> None:
        super().__init__(config)
        if len(set(config.columns)) < len(config.columns):
            raise DataError("two columns have the same name", where=f"data.columns = {list(config.columns)}")

    @property
    def about(self) -> dict[str, Any]:
        paths = [path for files in self.config.files.values() for path in files]
        return {
            "what": "your own files",
            "licence": "yours to know",
            "size": sum(path.stat().st_size for path in expand(paths)),
            "columns": list(self.config.columns),
            "url": ", ".join(paths),
        }

    def _given(self) -> tuple[str, ...]:
        return tuple(self.config.files)

    def _read(self, name: str) -> Rows:
        config = self.config
        return read(
            config.files[name], config.columns, names=config.names, keeping=config.keeping(name),
            encoding=config.encoding, delimiter=config.delimiter,
        )  # fmt: skip

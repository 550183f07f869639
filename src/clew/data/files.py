"""Your own files as training data."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from clew.data.lines import existing
from clew.data.readers import read
from clew.data.rows import Rows
from clew.data.source import Source, SourceConfig
from clew.errors import DataError


class FilesConfig(SourceConfig):
    """Files per split: one per column (parallel text), or tables with the columns (.tsv, .csv, .jsonl, .parquet).

    Tagged words: .conllu (words, upos, lemma, …) and .conll (words, 2, 3, …, tags); questions: SQuAD's .json (id,
    title, context, question, answers).
    """

    kind: str = "files"
    train: tuple[str, ...] = Field(min_length=1)
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    columns: tuple[str, ...] = Field(min_length=1)

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
            "size": sum(existing(path).stat().st_size for path in paths),
            "columns": list(self.config.columns),
            "url": ", ".join(paths),
        }

    def _given(self) -> tuple[str, ...]:
        return tuple(self.config.files)

    def _read(self, name: str) -> Rows:
        config = self.config
        return read(config.files[name], config.columns, on_bad=config.on_bad, max_characters=config.max_characters)

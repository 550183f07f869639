"""Several sources as one, each row turned into text: what a text-to-text model learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from clew.config import Choice, Config, build, choice_of
from clew.data.rows import ReadReport, Rows, joined
from clew.data.source import SPLITS
from clew.errors import DataError


class PartConfig(Config):
    """A source, and the templates by which its rows become text: "{column}" stands for a row's value."""

    data: choice_of("data")
    input: str  # beginning with the task's prefix
    target: str
    names: dict[str, str] = Field(default_factory=dict)  # what targets are called instead: {"0": "negative", …}
    times: int = Field(1, ge=1)  # how often each of its training rows comes in an epoch: more, for a small part
    step: float | None = Field(None, gt=0)  # a number is rounded to a multiple of this, so that few texts mean numbers


class MixtureConfig(Choice):
    """Parts by name."""

    kind: str = "mixture"
    parts: dict[str, PartConfig] = Field(min_length=1)


class Mixture:
    """Rows with the columns part, input and target. It has the splits that all of its parts have."""

    Config = MixtureConfig

    def __init__(self, config: MixtureConfig) -> None:
        self.config = config
        self.sources = {name: build("data", part.data) for name, part in config.parts.items()}

    @property
    def about(self) -> dict[str, Any]:
        each = [source.about for source in self.sources.values()]
        return {
            "what": "; ".join(about["what"] for about in each),
            "licence": "; ".join(dict.fromkeys(about["licence"] for about in each)),
            "size": sum(about["size"] for about in each),
            "columns": ["part", "input", "target"],
            "url": ", ".join(about["url"] for about in each),
        }

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(name for name in SPLITS if all(name in source.splits for source in self.sources.values()))

    def split(self, name: str) -> Rows:
        """The rows of all parts, one part after another. Raises DataError where a template names no column."""
        columns: dict[str, list[str]] = {"part": [], "input": [], "target": []}
        read, kept, said = 0, 0, []
        for part, config in self.config.parts.items():
            rows = self.sources[part].split(name)
            table = [
                dict(zip(rows.columns, values, strict=True)) for values in zip(*rows.columns.values(), strict=True)
            ]
            if name == "train":
                table = table * config.times
            columns["part"] += [part] * len(table)
            columns["input"] += [written(config.input, row, f"data.parts.{part}.input") for row in table]
            columns["target"] += [target(config, row, part) for row in table]
            read, kept = read + rows.report.read, kept + rows.report.kept
            said.append(str(rows.report))
        return Rows(columns, ReadReport(" + ".join(said), read, kept))


def written(template: str, row: Mapping[str, str], where: str) -> str:
    """The template with a row's values. Raises DataError where it names a column that there is not."""
    try:
        return template.format_map({name: joined(value) for name, value in row.items()})
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f'"{template}" does not fit the data: {error}', where=where, fix=f"columns there: {', '.join(row)}"
        ) from error


def target(config: PartConfig, row: Mapping[str, str], part: str) -> str:
    """A row's target, renamed and rounded. Raises DataError where a number was expected."""
    text = written(config.target, row, f"data.parts.{part}.target")
    if config.step is not None:
        try:
            text = f"{round(float(text) / config.step) * config.step:g}"
        except ValueError as error:
            raise DataError(f"a target is no number: {error}", where=f"data.parts.{part}.step") from error
    return config.names.get(text, text)

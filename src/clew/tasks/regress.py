"""Regression: a number for a text, or for a pair of texts, such as how alike they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import Field

from clew.contracts import Prediction
from clew.data.batches import Texts
from clew.data.rows import Rows
from clew.errors import DataError
from clew.metrics.bootstrap import Score
from clew.metrics.correlation import pearson, spearman
from clew.tasks.classify import PairConfig, PairTask
from clew.text.labelled_tokenizer import LabelledTokenizer

METRICS: dict[str, Callable[..., Score]] = {"pearson": pearson, "spearman": spearman}


class RegressConfig(PairConfig):
    """Also which column is the number."""

    kind: str = "regress"
    score: str
    metrics: tuple[Literal["pearson", "spearman"], ...] = Field(("pearson", "spearman"), min_length=1)

    @property
    def stratum(self) -> str:
        return self.score


class Regress(PairTask):
    """Read column `text` (and `pair`), say the number of column `score`."""

    Config = RegressConfig

    def references(self, rows: Rows) -> list[str]:
        return self.label_column(rows, "score")

    def labels(self, rows: Rows) -> list[str]:
        return [self.config.score]

    def numbers(self, rows: Rows) -> list[float]:
        """The scores. Raises DataError where one is no number."""
        try:
            numbers = [float(score) for score in self.column(rows, "score")]
            if not all(map(math.isfinite, numbers)):
                raise ValueError("it is infinite, or nan")
            return numbers
        except (ValueError, TypeError) as error:
            raise DataError(
                f"a score is no number: {error}", where=f"{rows.report.source}, column {self.config.score}",
                fix="mend that row, or name another column in task.score",
            ) from error  # fmt: skip

    def check(self, rows: Rows) -> None:
        self.inputs(rows)
        self.numbers(rows)

    def labelled(self, rows: Rows, preprocessor: LabelledTokenizer) -> Texts:
        texts: Texts = self.encode(self.inputs(rows), preprocessor)
        texts.label = self.numbers(rows)
        return texts

    def predictions(
        self, lines: Sequence[str], texts: Texts, outputs: Sequence[Any], preprocessor: LabelledTokenizer
    ) -> list[Prediction]:
        return [Prediction(f"{float(score):.4g}", float(score)) for score in outputs]

    def figures(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Score]:
        said, true = [prediction.score for prediction in predictions], self.numbers(rows)
        return {name: METRICS[name](said, true) for name in self.config.metrics}

    def loss(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, float]:
        """The mean squared error."""
        pairs = list(zip((p.score for p in predictions), self.numbers(rows), strict=True))
        return {"loss": sum((said - true) ** 2 for said, true in pairs) / len(pairs)}

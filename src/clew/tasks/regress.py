"""Regression: a number for a text or an image, or for a pair of texts, such as how alike they are."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import Field

from clew.contracts import Prediction
from clew.data.batches import Examples
from clew.data.rows import Rows
from clew.errors import DataError
from clew.metrics.bootstrap import Score
from clew.metrics.correlation import pearson, spearman
from clew.tasks.classify import PairConfig, PairTask

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
    """Read column `text` (and `pair`) or `image`, say the number of column `score`."""

    Config = RegressConfig

    def references(self, rows: Rows) -> list[str]:
        return self.label_column(rows, "score")

    def labels(self, rows: Rows) -> list[str]:
        return [self.config.score]

    def numbers(self, rows: Rows) -> list[float]:
        """The scores. Raises DataError where one is no number."""
        where, numbers = f"{rows.report.source}, column {self.config.score}", list[float]()
        for number, score in enumerate(self.column(rows, "score"), start=1):
            try:
                numbers.append(float(score))
                if not math.isfinite(numbers[-1]):
                    raise ValueError("it is infinite, or nan")
            except (ValueError, TypeError) as error:
                comma = re.fullmatch(r"\s*[+-]?\d+,\d+\s*", str(score))
                fix = "write it with a point, as in 0.5" if comma else "mend it, or name another column in task.score"
                raise DataError(f"a score is no number: {error}", where=f"{where}, row {number}", fix=fix) from error
        return numbers

    def check(self, rows: Rows) -> None:
        self.inputs(rows)
        self.numbers(rows)

    def labelled(self, rows: Rows, preprocessor: Any) -> Examples:
        encoded = self.encode(self.inputs(rows), preprocessor)
        encoded.label = self.numbers(rows)
        return encoded

    def predictions(
        self, lines: Sequence[Any], encoded: Any, outputs: Sequence[Any], preprocessor: Any
    ) -> list[Prediction]:
        return [Prediction(f"{float(score):.4g}", float(score)) for score in outputs]

    def figures(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Score]:
        said, true = [prediction.score for prediction in predictions], self.numbers(rows)
        return {name: METRICS[name](said, true) for name in self.config.metrics}

    def loss(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, float]:
        """The mean squared error."""
        pairs = list(zip((p.score for p in predictions), self.numbers(rows), strict=True))
        return {"loss": sum((said - true) ** 2 for said, true in pairs) / len(pairs)}

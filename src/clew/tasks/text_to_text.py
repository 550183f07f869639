"""Text to text: every task is a text that begins with what is asked, and the answer is a text as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from time import process_time
from typing import Any, Literal

import numpy as np
from pydantic import Field

from clew.config import DecodeConfig, TokenizerConfig
from clew.contracts import Task
from clew.data.rows import Rows
from clew.errors import RecipeError
from clew.metrics import bleu, perplexity
from clew.metrics.bootstrap import Score, mean_of
from clew.metrics.classification import accuracy, macro_f1
from clew.metrics.correlation import pearson, spearman
from clew.tasks.translate import Translate, TranslateConfig
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair

NO_NUMBER = -1.0  # what an answer counts as that is no number, as in the published evaluation

METRICS: dict[str, Callable[[Sequence[str], Sequence[str]], Score]] = {
    "bleu": bleu,
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "pearson": lambda said, true: pearson([*map(number, said)], [*map(number, true)]),
    "spearman": lambda said, true: spearman([*map(number, said)], [*map(number, true)]),
}


class TextToTextConfig(TranslateConfig):
    """Each part of the data (see `data.kind = "mixture"`), and the figure that it is judged by."""

    kind: str = "text_to_text"
    source: str = "input"
    target: str = "target"
    alignment: str = ""
    metrics: dict[str, Literal["bleu", "accuracy", "macro_f1", "pearson", "spearman"]] = Field(min_length=1)


class TextToText(Translate):
    """One model for all parts of a mixture (Raffel et al. 2020, §2.4): reads `input`, writes `target`.

    Decoding is free: an answer that is no label is a wrong answer.
    """

    Config = TextToTextConfig
    hint = "A text that begins with what is asked, as those of the data do."
    quality = "mean"  # of the parts' figures, each in percent
    example_name = "text"
    config: TextToTextConfig

    def compared_by(self, measured: Sequence[Mapping[str, Any]], by: str = "") -> tuple[str, str]:
        return Task.compared_by(self, measured, by)

    def check(self, rows: Rows) -> None:
        """Raise RecipeError where the parts of the data and those of the task are not the same."""
        self.columns(rows)
        parts, known = {*rows["part"]}, {*self.config.metrics}
        if parts != known:
            raise RecipeError(
                f"the data has the parts {', '.join(sorted(parts))}, and task.metrics has {', '.join(sorted(known))}",
                where="task.metrics", fix="name a metric for each part of the data, and for no other",
            )  # fmt: skip

    def preprocessor(self, rows: Rows, config: TokenizerConfig, given: Tokenizer | None = None) -> TokenizerPair:
        """One vocabulary for both sides, trained on the texts or given."""
        if given is not None:
            return TokenizerPair(given, given)
        return super().preprocessor(rows, config.model_copy(update={"joint": True}))

    def paired(self, one: Sequence[str], other: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        return {"accuracy of whole answers": (accuracy(one, references), accuracy(other, references))}

    def each_score(self, outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Return 100 for an answer that is right, 0 for another."""
        return Task.each_score(self, outputs, references)

    def by_part(self, rows: Rows) -> dict[str, list[int]]:
        """The numbers of each part's rows, in the order of `task.metrics`."""
        found: dict[str, list[int]] = {part: [] for part in self.config.metrics}
        for i, part in enumerate(rows["part"]):
            found[part].append(i)
        return found

    def scores(self, outputs: Sequence[str], rows: Rows, parts: dict[str, list[int]]) -> dict[str, Score]:
        """The figure of each part; `outputs[k]` answers the k-th of the parts' rows, one part after another."""
        found, at = {}, 0
        for part, index in parts.items():
            metric = self.config.metrics[part]
            true = [rows[self.config.target][i] for i in index]
            found[f"{metric}:{part}"] = METRICS[metric](outputs[at : at + len(index)], true)
            at += len(index)
        return found

    def answers(
        self, model: Any, preprocessor: TokenizerPair, rows: Rows, decode: DecodeConfig, parts: dict[str, list[int]]
    ) -> list[str]:
        texts = [rows[self.config.source][i] for index in parts.values() for i in index]
        return [prediction.text for prediction in self.predict(model, preprocessor, texts, decode)]

    def validate(
        self, model: Any, preprocessor: TokenizerPair, rows: Rows, decode: DecodeConfig, n: int
    ) -> dict[str, Any]:
        """Loss and perplexity on all rows; the figures of greedy answers on n rows of each part; samples."""
        likelihood = self.likelihood(model, preprocessor, self.pairs(rows, preprocessor))
        total, count = (sum(column) for column in zip(*likelihood, strict=True))
        parts = {part: index[:: max(1, len(index) // n)][:n] for part, index in self.by_part(rows).items()}
        outputs = self.answers(model, preprocessor, rows, decode.model_copy(update={"beam": 1}), parts)
        figures = {name: each.value for name, each in self.scores(outputs, rows, parts).items()}
        asked = [i for index in parts.values() for i in index]
        shown = range(0, len(asked), max(1, len(asked) // 9))
        return {
            "loss": total / count,
            "perplexity": perplexity(total, count).value,
            "mean": sum(figures.values()) / len(figures),
            **figures,
            "samples": [
                {"source": rows[self.config.source][asked[k]], "reference": rows[self.config.target][asked[k]],
                 "output": outputs[k]}
                for k in shown
            ],
        }  # fmt: skip

    def evaluate(
        self,
        model: Any,
        preprocessor: TokenizerPair,
        rows: Rows,
        decode: DecodeConfig,
        *,
        choose_on: Rows | None = None,
    ) -> dict[str, Any]:
        """The figure of each part on all its rows, with 95% bootstrap intervals, perplexity and speed."""
        parts, begin = self.by_part(rows), process_time()
        outputs = self.answers(model, preprocessor, rows, decode, parts)
        seconds = process_time() - begin
        likelihood = self.likelihood(model, preprocessor, self.pairs(rows, preprocessor))
        scores = self.scores(outputs, rows, parts)
        order = [i for index in parts.values() for i in index]
        return {
            "sentences": len(rows),
            **{name: each.as_dict() for name, each in scores.items()},
            "mean": mean_of([each.as_dict() for each in scores.values()]),
            "perplexity": perplexity([nll for nll, _ in likelihood], [n for _, n in likelihood]).as_dict(),
            "decode_sentences_per_cpu_second": len(rows) / seconds,
            "outputs": [output for _, output in sorted(zip(order, outputs, strict=True))],
        }


def number(text: str) -> float:
    """The number that a text is, or NO_NUMBER."""
    try:
        found = float(text.replace(" ", ""))
    except ValueError:
        return NO_NUMBER
    return found if math.isfinite(found) else NO_NUMBER

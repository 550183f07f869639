"""Judging: pairs of answers in, a reward of any text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from clew.contracts import Prediction
from clew.data.batches import Texts
from clew.data.preferences import PairColumns, pairs
from clew.data.rows import Rows
from clew.metrics.bootstrap import Score, score, share
from clew.tasks.supervised import SupervisedTask, tabbed
from clew.text.labelled_tokenizer import LabelledTokenizer


class RewardModelingConfig(PairColumns):
    """Which columns are the answers."""

    kind: str = "reward_model"
    max_length: int = Field(256, ge=4)  # tokens; of a longer text the end is read, where the answer stands


class RewardModeling(SupervisedTask):
    """Learn a reward from preferences (Ouyang et al. 2022, §3.5): of a pair, the better text is to have more of it."""

    Config = RewardModelingConfig
    hint = "A text for its reward, or two for which is the better."
    head = "classify"
    example_name = "pair"
    unit = "pairs"
    quality = "accuracy"
    fields = ("text", "another text")
    n_fields = 1

    def looked_at(self, text: str, answer: str, labels: Sequence[str]) -> str:
        """Return the first of two texts."""
        return text.split("\t")[0]

    def inputs(self, rows: Rows) -> list[str]:
        """The better text of each pair, with its prompt, and after a tab the other one."""
        found = pairs(rows, self.config)
        return tabbed([f"{p.prompt} {p.chosen}" for p in found], [f"{p.prompt} {p.rejected}" for p in found])

    def references(self, rows: Rows) -> list[str]:
        return ["first"] * len(pairs(rows, self.config))

    def labels(self, rows: Rows) -> list[str]:
        return ["reward"]

    def encode(self, lines: Sequence[str], preprocessor: LabelledTokenizer) -> Texts:
        """Texts, or pairs of them where every line has a tab."""
        both = all("\t" in line for line in lines)
        texts = [text for line in lines for text in (line.split("\t", 1) if both else [line.replace("\t", " ")])]
        tokenizer, room = preprocessor.tokenizer, self.config.max_length
        encoded = tokenizer.encode(texts)
        cut = sum(len(ids) > room - 2 for ids in encoded)
        framed = [[tokenizer.bos_id, *ids[-(room - 2) :], tokenizer.eos_id] for ids in encoded]
        return Texts(framed, [0] * len(lines), choices=1 + both, cut=cut)

    def labelled(self, rows: Rows, preprocessor: LabelledTokenizer) -> Texts:
        return self.encode(self.inputs(rows), preprocessor)

    def outputs(self, out: Any, texts: Texts, rows: Sequence[int]) -> Sequence[Any]:
        return list(out.logits.float().cpu().view(-1, texts.choices))

    def predictions(
        self, lines: Sequence[str], texts: Texts, outputs: Sequence[Any], preprocessor: LabelledTokenizer
    ) -> list[Prediction]:
        """The reward of a text; of a pair which is the better, and by how much."""
        if texts.choices == 1:
            return [Prediction(f"{float(reward):.4g}", float(reward)) for reward in outputs]
        margins = [float(a - b) for a, b in outputs]
        return [Prediction("first" if margin > 0 else "second", margin) for margin in margins]

    def figures(self, predictions: Sequence[Prediction], rows: Rows) -> dict[str, Score]:
        right = np.array([each.text == "first" for each in predictions], dtype=float)
        return {"accuracy": score(np.stack([right, np.ones_like(right)], axis=1), share, "accuracy|of:pairs")}

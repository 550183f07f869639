"""Span corruption: running text in, a model that fills gaps of any length out; how T5 is pre-trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from pydantic import Field

from clew.config import BatchConfig, DecodeConfig, TaskConfig, TokenizerConfig, TrainConfig
from clew.contracts import Example, Prediction, Task
from clew.data.denoising import Corruption, DenoisingLoader
from clew.data.documents import Documents, Ends, pieces
from clew.data.text import Text
from clew.decode.search import Listener
from clew.metrics.bootstrap import Score, score, share
from clew.metrics.perplexity import perplexity
from clew.tasks.agreement import shared_text
from clew.tasks.examples import SHOWN
from clew.tasks.translate import Translate, TranslateConfig
from clew.text.sentinels import encode_gaps, filled, gaps, sentinel_ids, with_sentinels
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair

GAP = "<extra_id_0>"
PART = 2000  # windows of the training text that are measured where there is no other text


class DenoiseConfig(TaskConfig):
    """What is cut out of a text, and what makes a text."""

    kind: str = "denoise"
    max_length: int = Field(128, ge=8)  # tokens of a window, before spans are cut out of it
    document: Ends = "paragraphs"  # documents end at blank lines, at each line, or with the file
    share: float = Field(0.15, gt=0, lt=1)  # of the tokens that are cut out
    mean_span: float = Field(3.0, ge=1)  # tokens
    sentinels: int = Field(100, ge=1)  # of the vocabulary: the most spans that a window has


class Denoise(Task):
    """Cut spans out of running text, and have a translator write them (Raffel et al. 2020, §3.1.4)."""

    Config = DenoiseConfig
    preprocessor_class = TokenizerPair
    head = "translate"
    hint = "A text with <extra_id_0>, <extra_id_1> … in place of words."
    quality = "accuracy"
    example_name = "text with gaps"
    unit = "target tokens"

    def __init__(self, config: DenoiseConfig) -> None:
        super().__init__(config)
        self.translate = Translate(TranslateConfig(source="", target=""))  # which searches

    # Which examples.

    def preprocessor(self, rows: Text, config: TokenizerConfig, given: Tokenizer | None = None) -> TokenizerPair:
        """A vocabulary trained on the sentences of the text, or the one given, and the sentinels."""
        stream = (
            piece
            for piece in pieces(rows.paths, self.config.document, self.progress("learning the vocabulary"))
            if piece
        )
        found = given or Tokenizer.train(islice(stream, config.max_examples), config)
        both = with_sentinels(found, self.config.sentinels)
        return TokenizerPair(both, both)

    def loader(self, rows: Text, preprocessor: TokenizerPair, batch: BatchConfig, seed: int) -> DenoisingLoader:
        tokenizer, progress = preprocessor.source, self.progress("encoding text")
        documents = Documents.encode(rows.paths, tokenizer, ends=self.config.document, progress=progress)
        known = tuple(sentinel_ids(tokenizer)[: self.config.sentinels])
        corruption = Corruption(self.config.share, self.config.mean_span, known)
        return DenoisingLoader(
            documents, corruption, self.config.max_length, batch=batch, seed=seed, **preprocessor.ids
        )

    def compare(self, rows: Text, others: Mapping[str, Text]) -> list[str]:
        """Return a line on each other text that is training text too."""
        return shared_text(rows, others)

    def check_length(self, rows: Text, preprocessor: Any) -> None:
        """Raise DataError where a text has none, or one document only where two are wanted."""
        Documents.encode(rows.paths, preprocessor.source, ends=self.config.document)

    def batches(self, rows: Text, preprocessor: TokenizerPair, train: TrainConfig, seed: int) -> DenoisingLoader:
        """Training batches, without end."""
        return self.loader(rows, preprocessor, train.batch, seed)

    # How to predict.

    def predict(
        self,
        model: Any,
        preprocessor: TokenizerPair,
        texts: Iterable[str],
        decode: DecodeConfig,
        *,
        attention: bool = False,
        listener: Listener | None = None,
    ) -> Iterator[Prediction]:
        """Fill the gaps <extra_id_0>, <extra_id_1>, … of each text, in order; score: of the whole answer.

        Raises DataError for a text without gaps, or whose gaps do not count up from 0.
        """
        stream, device = iter(texts), next(model.parameters()).device
        model.eval()
        while chunk := list(islice(stream, decode.batch_size)):
            ids = [encode_gaps(preprocessor.source, text) for text in chunk]
            for text, hypotheses in zip(
                chunk, self.translate.search(model, preprocessor, ids, decode, device, listener), strict=True
            ):
                n = text.count("<extra_id_")
                found = [(filled(text, gaps(preprocessor.target, each.ids, n)), each.score) for each in hypotheses]
                yield Prediction(*found[0], alternatives=found[1:])

    def examples(self, data: Any, splits: Sequence[str]) -> list[Example]:
        """Sentences of varied lengths, some words of each missing."""
        found = []
        for split in splits:
            some = [
                p for p in islice(pieces(data.split(split).paths, self.config.document), 2000) if len(p.split()) > 6
            ]
            some.sort(key=lambda piece: len(piece.split()))
            found += [Example(holed(piece), piece) for piece in (some[int(q * (len(some) - 1))] for q in SHOWN if some)]
        return found

    def both_sides(self, preprocessor: TokenizerPair, text: str, output: str) -> tuple[list[int], list[int] | None]:
        """Return the ids of a text with gaps, and of what fills them, each after its mark."""
        written = encode_gaps(preprocessor.target, output) if output else None
        return encode_gaps(preprocessor.source, text), written

    def searches(self, model: Any, decode: DecodeConfig) -> bool:
        return True

    # Which metrics.

    @torch.no_grad()
    def figures(
        self, model: Any, preprocessor: TokenizerPair, rows: Text, decode: DecodeConfig, limit: int | None
    ) -> dict[str, Score]:
        """Perplexity of the target's tokens, and the share of them that are the likeliest, the others being given.

        One pass over a text, or so many windows of it.
        """
        model.eval()
        loader = self.loader(rows, preprocessor, BatchConfig(tokens=decode.batch_size * self.config.max_length), seed=0)
        nll, right, count, n = [], [], [], 0
        for batch in loader:
            read = replace(batch).to(next(model.parameters()).device)
            target = read.target_out[read.target_mask]
            log_p = model.project(model(read).hidden[read.target_mask]).float().log_softmax(dim=-1)
            nll.append(-log_p.gather(1, target[:, None]).sum().item())
            right.append(int((log_p.argmax(dim=1) == target).sum()))
            count.append(len(target))
            n += len(batch.index)
            if loader.epochs_done >= 1 or (limit and n >= limit):
                break
        statistics = np.stack([right, count], axis=1).astype(float)
        return {
            "accuracy": score(statistics, share, "accuracy|of:target tokens"),
            "perplexity": perplexity(nll, count),
        }

    def validate(
        self, model: Any, preprocessor: TokenizerPair, rows: Text, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """Loss, perplexity and accuracy on n windows; samples."""
        figures = {k: v.value for k, v in self.figures(model, preprocessor, rows, decode, n_examples).items()}
        shown = [p for p in islice(pieces(rows.paths, self.config.document), 400) if 8 < len(p.split()) < 20][:4]
        given = [holed(piece) for piece in shown]
        greedy = decode.model_copy(update={"beam": 1})
        samples = [
            {"source": source, "reference": whole, "output": p.text}
            for source, whole, p in zip(given, shown, self.predict(model, preprocessor, given, greedy), strict=True)
        ]
        return {"loss": float(np.log(figures["perplexity"])), **figures, "samples": samples}

    def evaluate(
        self, model: Any, preprocessor: TokenizerPair, rows: Text, decode: DecodeConfig, *, choose_on: Any = None
    ) -> dict[str, Any]:
        """Return the figures of the whole text with 95% intervals over its batches; of a part, if it was trained on."""
        found = self.figures(model, preprocessor, rows, decode, PART if rows.borrowed else None)
        return {name: each.as_dict() for name, each in found.items()} | {"outputs": []}


def holed(text: str) -> str:
    """The text without two words of its middle."""
    words = text.split()
    middle = len(words) // 2
    return " ".join([*words[: middle - 1], GAP, *words[middle + 1 :]])

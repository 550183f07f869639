"""Translation: pairs of sentences in, a translator's objective and search, BLEU, chrF, perplexity and AER out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from clew.batches import PairBatch
from clew.config import Choice, DecodeConfig, TaskConfig, TokenizerConfig, TrainConfig
from clew.contracts import Example, Prediction, Task
from clew.data.batches import PairLoader, Pairs, pad
from clew.data.rows import Rows
from clew.decode.attention import attention_maps, sentence_maps
from clew.decode.engine import engine
from clew.decode.search import Hypothesis, Limits, Listener, search
from clew.errors import DataError
from clew.metrics import Links, aer, bleu, chrf, parse_links, perplexity
from clew.metrics.alignment import align, best_map, merge_subwords, salient
from clew.metrics.repetition import repeating
from clew.tasks.agreement import shared
from clew.tasks.examples import SHOWN, by_length
from clew.tasks.supervised import texts_of
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair

LEAST_BLEU = 2.0  # below it BLEU is made of chance matches, and smoothing
SHOWN_OTHER = (0.25, 0.75)  # quantiles of length of the sentences shown of each split but the first

Model = Any
"""An nn.Module that offers what `clew.models.translator.Translator` lists: Python has no type for both at once."""


class TranslateConfig(TaskConfig):
    """Which columns of the data are the source and the target, and the gold word alignment where there is one."""

    kind: str = "translate"
    source: str
    target: str
    alignment: str = "alignment"  # used where the data has such a column


class Translate(Task):
    """Translate column `source` into column `target`."""

    Config: type[Choice] = TranslateConfig
    preprocessor_class = TokenizerPair
    head = "translate"
    hint = "A sentence."
    quality = "bleu"
    example_name = "sentence"  # what an example is, and what a budget in tokens counts: the words of reports
    unit = "target tokens"

    # What it is judged by.

    def floor(self, rows: Rows) -> float:
        return LEAST_BLEU if self.judge == "bleu" else 0.0

    def compared_by(self, measured: Sequence[Mapping[str, Any]], by: str = "") -> tuple[str, str]:
        """Perplexity per word where a BLEU cannot be told from none, and for perplexity: vocabularies may differ."""
        chosen, why = super().compared_by(measured, by)
        low = [each["bleu"]["low"] for each in measured if chosen == "bleu" and "bleu" in each]
        if any(value is not None and value < LEAST_BLEU for value in low):
            return "perplexity_per_word", (
                f"BLEU is no judge here: the interval of the worst begins at {min(low):.1f}, where matches are chance. "
                "What follows goes by perplexity per word"
            )
        return ("perplexity_per_word" if chosen == "perplexity" else chosen), why

    # Which examples.

    def n_words(self, rows: Rows) -> int:
        return sum(len(text.split()) for texts in self.columns(rows) for text in texts)

    def n_examples(self, rows: Rows) -> int:
        return len(rows)

    def columns(self, rows: Rows) -> tuple[list[str], list[str]]:
        """Return source and target texts. Raise DataError where a column is missing, or holds something else."""
        source, target = self.config.source, self.config.target
        return texts_of(rows, source, "task.source"), texts_of(rows, target, "task.target")

    def check(self, rows: Rows) -> None:
        self.columns(rows)

    def compare(self, rows: Rows, others: Mapping[str, Rows]) -> list[str]:
        """Return a line on each split whose pairs are training pairs too."""
        pairs = {name: [*zip(*self.columns(other), strict=True)] for name, other in others.items()}
        return shared(zip(*self.columns(rows), strict=True), pairs, "pair")

    def preprocessor(self, rows: Rows, config: TokenizerConfig, given: Tokenizer | None = None) -> TokenizerPair:
        """Return what is trained on the texts of these rows; one vocabulary where `config.joint`, or the one given."""
        if given is not None:
            return TokenizerPair(given, given)
        source, target = (texts[: config.max_examples] for texts in self.columns(rows))
        if config.joint:
            joint = Tokenizer.train(source + target, config)
            return TokenizerPair(joint, joint)
        return TokenizerPair(Tokenizer.train(source, config), Tokenizer.train(target, config))

    def words(self, preprocessor: TokenizerPair) -> dict[str, list[str]]:
        """What the rows of a model's embeddings stand for."""
        return {"source_embedding": preprocessor.source.words, "target_embedding": preprocessor.target.words}

    def pairs(self, rows: Rows, preprocessor: TokenizerPair) -> Pairs:
        source, target = self.columns(rows)
        return Pairs(preprocessor.source.encode(source), preprocessor.target.encode(target))

    def batches(self, rows: Rows, preprocessor: TokenizerPair, train: TrainConfig, seed: int) -> PairLoader:
        """Training batches. Raises DataError where no pair is short enough to train on."""
        pairs = self.pairs(rows, preprocessor)
        loader = PairLoader(pairs, batch=train.batch, max_length=train.max_length, seed=seed, **preprocessor.ids)
        if not len(loader.rows):
            raise DataError(
                f"all {len(pairs)} pairs are longer than {train.max_length} tokens", fix="raise train.max_length"
            )
        return loader

    # How to predict.

    def predict(
        self,
        model: Model,
        preprocessor: TokenizerPair,
        texts: Iterable[str],
        decode: DecodeConfig,
        *,
        attention: bool = False,
        listener: Listener | None = None,
    ) -> Iterator[Prediction]:
        """Translate texts one after another, in their order; any number of them, 64 batches in memory at a time.

        A text of nothing but white space has an empty translation with score 0. listener: is told of every beam search.
        """
        stream = iter(texts)
        fast, device = engine(model, decode.precision), next(model.parameters()).device
        while chunk := list(islice(stream, 64 * decode.batch_size)):
            ids = preprocessor.source.encode(chunk)
            order = sorted((i for i in range(len(ids)) if ids[i]), key=lambda i: len(ids[i]))
            found = [Prediction("", 0.0) for _ in ids]
            for start in range(0, len(order), decode.batch_size):
                rows = order[start : start + decode.batch_size]
                searched = self.search(fast, preprocessor, [ids[i] for i in rows], decode, device, listener)
                for row, hypotheses in zip(rows, searched, strict=True):
                    found[row] = self.prediction(model, preprocessor, ids[row], hypotheses, attention)
            yield from found

    def search(
        self,
        engine: Any,
        preprocessor: TokenizerPair,
        ids: list[list[int]],
        decode: DecodeConfig,
        device: torch.device,
        listener: Listener | None = None,
    ) -> list[list[Hypothesis]]:
        """The hypotheses for encoded sources, as one batch. `engine`: the model, or what decodes like it."""
        eos, bos = preprocessor.target.eos_id, preprocessor.target.bos_id
        source = pad([[*row, eos] for row in ids], preprocessor.target.pad_id).to(device)
        lengths = torch.tensor([len(row) + 1 for row in ids], device=device)
        mask = torch.arange(source.shape[1], device=device) < lengths[:, None]
        positions = engine.max_length or decode.max_length + 1  # [CLS] or <s> takes one
        limits = Limits(bos, eos, min(decode.max_length, positions - 1), decode.length_penalty)
        return search(engine, source, mask, limits, decode.beam, listener)

    def prediction(
        self,
        model: Model,
        preprocessor: TokenizerPair,
        source: list[int],
        hypotheses: list[Hypothesis],
        attention: bool,
    ) -> Prediction:
        texts = preprocessor.target.decode([hypothesis.ids for hypothesis in hypotheses])
        # On one line: a byte-level vocabulary can spell a line end.
        scored = [(" ".join(text.split()), found.score) for text, found in zip(texts, hypotheses, strict=True)]
        out = Prediction(*scored[0], alternatives=scored[1:])
        if attention:
            target = hypotheses[0].ids
            out.source_tokens = [*preprocessor.source.tokens(source), preprocessor.source.specials.eos]
            out.target_tokens = [*preprocessor.target.tokens(target), preprocessor.target.specials.eos]
            out.attention = list(self.maps(model, preprocessor, Pairs([source], [target]))[0].items())
            out.salient = salient(out.attention[0][1]) if out.attention else []
        return out

    def maps(self, model: Model, preprocessor: TokenizerPair, pairs: Pairs) -> list[dict[str, Tensor]]:
        """Attention of each pair, target given: name → (target tokens, source tokens), </s> included on both sides."""
        out = []
        for batch in sequential(pairs, preprocessor, 64):
            maps = attention_maps(model, batch.to(next(model.parameters()).device))
            for row, (source, target) in enumerate(
                zip(batch.source_mask.sum(1), batch.target_mask.sum(1), strict=True)
            ):
                out.append(sentence_maps(maps, row, int(target), int(source)))
        return out

    def examples(self, data: Any, splits: Sequence[str]) -> list[Example]:
        """Sentences of varied lengths from the splits that runs measured, most from the first."""
        found = []
        for n, split in enumerate(splits):
            rows = data.split(split)
            source, target = self.columns(rows)
            for i in by_length(source, SHOWN_OTHER if n else SHOWN):
                gold = None
                if self.config.alignment in rows.columns:
                    gold = [list(link) for link in sorted(parse_links(rows[self.config.alignment][i])[1])]
                found.append(Example(source[i], target[i], gold))
        return found

    def searches(self, model: Model, decode: DecodeConfig) -> bool:
        return not model.parallel

    def inputs(self, rows: Rows) -> list[str]:
        return [*self.columns(rows)[0]]

    def references(self, rows: Rows) -> list[str]:
        return [*self.columns(rows)[1]]

    def texts(self, data: Any, split: str, most: int) -> list[str]:
        return [text for text in self.inputs(data.split(split))[:most] if text.strip()]

    # Which metrics.

    def paired(self, one: Sequence[str], other: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        return {name: (f(one, references), f(other, references)) for name, f in (("bleu", bleu), ("chrf", chrf))}

    def each_score(self, outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Return chrF of each sentence."""
        found = chrf([*outputs], [*references])
        return np.asarray(found.metric(found.sentences))

    @torch.no_grad()
    def likelihood(self, model: Model, preprocessor: TokenizerPair, pairs: Pairs) -> list[tuple[float, int]]:
        """Negative log-likelihood (nats) of each given target, and its number of tokens, </s> included."""
        out: list[tuple[float, int]] = []
        model.eval()
        for batch in sequential(pairs, preprocessor, 64):
            batch = batch.to(next(model.parameters()).device)
            hidden, target = model(batch).hidden[batch.target_mask], batch.target_out[batch.target_mask]  # (tokens, …)
            parts = zip(hidden.split(512), target.split(512), strict=True)  # few logits in memory at a time
            nll = torch.cat([cross_entropy(model.project(h).float(), y, reduction="none") for h, y in parts])
            sentences = nll.double().split(batch.target_mask.sum(1).tolist())
            out += [(sentence.sum().item(), len(sentence)) for sentence in sentences]
        return out

    def validate(
        self, model: Model, preprocessor: TokenizerPair, rows: Rows, decode: DecodeConfig, n: int
    ) -> dict[str, Any]:
        """Loss and perplexity on all rows; BLEU and chrF of greedy outputs on n of them, spread evenly; samples."""
        likelihood = self.likelihood(model, preprocessor, self.pairs(rows, preprocessor))
        total, count = (sum(column) for column in zip(*likelihood, strict=True))
        chosen = range(0, len(rows), max(1, len(rows) // n))[:n]
        source, target = ([texts[i] for i in chosen] for texts in self.columns(rows))
        greedy = decode.model_copy(update={"beam": 1})
        outputs = [prediction.text for prediction in self.predict(model, preprocessor, source, greedy)]
        return {
            "loss": total / count,
            "perplexity": perplexity(total, count).value,
            "perplexity_per_word": perplexity(total, sum(len(t.split()) + 1 for t in self.references(rows))).value,
            "bleu": bleu(outputs, target).value,
            "chrf": chrf(outputs, target).value,
            "samples": [
                {"source": s, "reference": t, "output": o}
                for s, t, o in list(zip(source, target, outputs, strict=True))[:8]
            ],
        }

    def evaluate(
        self,
        model: Model,
        preprocessor: TokenizerPair,
        rows: Rows,
        decode: DecodeConfig,
        *,
        choose_on: Rows | None = None,
    ) -> dict[str, Any]:
        """Every metric on all rows, with 95% bootstrap intervals, and decoding speed.

        AER is measured where the rows carry gold alignments and the model attends to the source: the gold target is
        given, and of several maps the one that aligns `choose_on` (validation rows) best is used, and named.
        """
        source, target = self.columns(rows)
        cpu = time.process_time()
        outputs = [prediction.text for prediction in self.predict(model, preprocessor, source, decode)]
        cpu = time.process_time() - cpu
        pairs = self.pairs(rows, preprocessor)
        likelihood = self.likelihood(model, preprocessor, pairs)
        nll, tokens = [pair[0] for pair in likelihood], [pair[1] for pair in likelihood]
        words = [len(text.split()) + 1 for text in target]
        out: dict[str, Any] = {
            "sentences": len(rows),
            "bleu": bleu(outputs, target).as_dict(),
            "chrf": chrf(outputs, target).as_dict(),
            "perplexity": perplexity(nll, tokens).as_dict(),
            "perplexity_per_word": perplexity(nll, words, per="word").as_dict(),
            "decode_sentences_per_cpu_second": len(rows) / cpu,
            "repeating": repeating(outputs),
            "outputs": outputs,
        }
        if self.config.alignment in rows.columns and model.target_attention:
            chooser = choose_on if choose_on is not None and self.config.alignment in choose_on.columns else rows
            name = best_map(*self.word_maps(model, preprocessor, chooser))[0]
            maps, sure, possible = self.word_maps(model, preprocessor, rows)
            found = aer([align(each[name]) for each in maps], sure, possible)
            out["aer"] = found.score.as_dict() | {"precision": found.precision, "recall": found.recall, "map": name}
        return out

    def word_maps(
        self, model: Model, preprocessor: TokenizerPair, rows: Rows
    ) -> tuple[list[dict[str, np.ndarray]], list[Links], list[Links]]:
        """Attention between words, and the gold links, sure and possible."""
        source, target = self.columns(rows)
        links = [parse_links(text) for text in rows[self.config.alignment]]
        maps = self.maps(model, preprocessor, self.pairs(rows, preprocessor))
        merged = [
            {
                name: merge_subwords(w, preprocessor.target.word_ids(t), preprocessor.source.word_ids(s))
                for name, w in each.items()
            }
            for each, s, t in zip(maps, source, target, strict=True)
        ]
        return merged, [sure for sure, _ in links], [possible for _, possible in links]


def sequential(pairs: Pairs, preprocessor: TokenizerPair, size: int) -> Iterator[PairBatch]:
    """All pairs in order, `size` at a time."""
    for start in range(0, len(pairs), size):
        yield pairs.batch(range(start, min(start + size, len(pairs))), **preprocessor.ids)

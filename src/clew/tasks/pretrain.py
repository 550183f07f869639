"""Pre-training: running text in, an encoder that fills in what was hidden out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from clew.batches import TextBatch
from clew.config import DecodeConfig, TaskConfig, TokenizerConfig, TrainConfig
from clew.contracts import Example, Prediction, Task
from clew.data.batches import Texts
from clew.data.documents import Documents, pieces
from clew.data.masking import Masking
from clew.data.pretraining import PretrainingLoader, Template
from clew.data.text import Text
from clew.decode.encoder import reader
from clew.errors import DataError, RecipeError
from clew.metrics.bootstrap import Score, ratio, score
from clew.metrics.perplexity import perplexity
from clew.tasks.agreement import shared_text
from clew.tasks.examples import SHOWN
from clew.text.tokenizer import Tokenizer

MASK = "[MASK]"  # in texts to fill, whatever the vocabulary calls it
PART = 5000  # examples of the training text that are measured where there is no other text
ALTERNATIVES = 5  # tokens named for each [MASK]
ROWS_AT_ONCE = 512  # hidden tokens whose logits over the vocabulary are in memory at a time


class PretrainConfig(TaskConfig):
    """What is hidden from the model, and what makes a text."""

    kind: str = "pretrain"
    max_length: int = Field(128, ge=8)  # tokens of an example, [CLS] and [SEP] included
    next_sentence: bool = True  # pairs, half of them parted: is the second text the first's continuation?
    document: Literal["paragraphs", "line"] = "paragraphs"  # documents end at blank lines, or at each line
    share: float = Field(0.15, gt=0, lt=1)  # of the tokens that are chosen
    whole_words: bool = False
    masks: Literal["dynamic", "static"] = "dynamic"  # drawn anew in each epoch; or as published: ten times, then again
    duplicates: int = Field(10, ge=1)  # of each text, under static masks


class Pretrain(Task):
    """Hide 15% of the tokens of a text, and have the model guess them (Devlin et al. 2019)."""

    Config = PretrainConfig
    preprocessor_class = Tokenizer
    head = "masked_lm"
    hint = "A text with [MASK] in place of a word."
    quality = "accuracy"
    hides_tokens = True
    example_name = "[MASK] text"
    unit = "hidden tokens"

    # Which examples.

    def preprocessor(self, rows: Text, config: TokenizerConfig, given: Tokenizer | None = None) -> Tokenizer:
        """A vocabulary trained on the sentences of the text, or the one given."""
        if given is not None:
            return given
        stream = (
            piece for piece in pieces(rows.paths, "paragraphs", self.progress("learning the vocabulary")) if piece
        )
        return Tokenizer.train(islice(stream, config.max_examples), config, mask=True)

    def loader(self, rows: Text, preprocessor: Tokenizer, batch_tokens: int, seed: int) -> PretrainingLoader:
        progress = self.progress("encoding text")
        documents = Documents.encode(rows.paths, preprocessor, ends=self.config.document, progress=progress)
        if preprocessor.mask_id is None:
            raise RecipeError("this vocabulary has no mask token", where="tokenizer", fix="train one, or take BERT's")
        special = {preprocessor.inner.token_to_id(name) for name in preprocessor.specials.all}
        plain = np.array([i for i in range(len(preprocessor)) if i not in special])
        pieces_of_words = preprocessor.continues if self.config.whole_words else None
        masking = Masking(self.config.share, preprocessor.mask_id, plain, pieces_of_words)
        if self.config.next_sentence and len(documents) == 1:
            raise DataError(
                "the text is one document, and half of all second texts come from another", where=rows.report,
                fix='part documents by blank lines, set task.document="line", or task.next_sentence=false',
            )  # fmt: skip
        template = Template(preprocessor.bos_id, preprocessor.eos_id, preprocessor.pad_id, self.config.max_length)
        return PretrainingLoader(
            documents, template, masking, batch_tokens=batch_tokens, seed=seed,
            next_sentence=self.config.next_sentence,
            duplicates=self.config.duplicates if self.config.masks == "static" else None,
        )  # fmt: skip

    def compare(self, rows: Text, others: Mapping[str, Text]) -> list[str]:
        """Return a line on each other text that is training text too."""
        return shared_text(rows, others)

    def check_length(self, rows: Text, preprocessor: Any) -> None:
        """Raise DataError where a text has none, or one document only where two are wanted."""
        self.loader(rows, preprocessor, self.config.max_length, seed=0)

    def batches(self, rows: Text, preprocessor: Tokenizer, train: TrainConfig, seed: int) -> PretrainingLoader:
        """Training batches, without end."""
        return self.loader(rows, preprocessor, train.batch.of_tokens("running text"), seed)

    @property
    def longest(self) -> int:
        return int(self.config.max_length)

    def n_outputs(self, preprocessor: Tokenizer) -> int:
        """Return 2, whether the second text follows or not; 0 without pairs."""
        return 2 * int(self.config.next_sentence)

    # How to predict.

    def predict(
        self,
        model: Any,
        preprocessor: Tokenizer,
        texts: Iterable[str],
        decode: DecodeConfig,
        *,
        attention: bool = False,
        listener: Any = None,
    ) -> Iterator[Prediction]:
        """Fill every [MASK] of each text, in order; score: the probability of all that was filled in.

        alternatives: the same text with another token at one of its masks. [MASK] is understood however the vocabulary
        spells it. Of a text of more than `task.max_length` tokens those around its masks are read. Raises DataError for
        a text without [MASK], or whose masks stand too far apart to be read together.
        """
        stream, model = iter(texts), reader(model, decode.precision)
        while chunk := list(islice(stream, decode.batch_size)):
            yield from self.fill(model, preprocessor, chunk)

    @torch.no_grad()
    def fill(self, model: Any, preprocessor: Tokenizer, texts: Sequence[str]) -> Iterator[Prediction]:
        model.eval()
        mark = preprocessor.specials.mask or MASK
        encoded = preprocessor.encode_masked([text.replace(MASK, mark) for text in texts])
        room = self.config.max_length - 2
        begins = []
        for text, ids in zip(texts, encoded, strict=True):
            masks = [place for place, i in enumerate(ids) if i == preprocessor.mask_id]
            if not masks:
                raise DataError(f"no {mark} in this text", where=text[:80] or "an empty line", fix="write one in it")
            if masks[-1] - masks[0] >= room:
                raise DataError(
                    f"its masks are too far apart: the model reads {room} tokens at once", where=text[:80],
                    fix="part the text between its masks",
                )  # fmt: skip
            begins.append(max(0, min((masks[0] + masks[-1] + 1 - room) // 2, len(ids) - room)))
        framed = [
            [preprocessor.bos_id, *ids[begin : begin + room], preprocessor.eos_id]
            for ids, begin in zip(encoded, begins, strict=True)
        ]
        at = [[place for place, i in enumerate(ids) if i == preprocessor.mask_id] for ids in framed]
        batch = Texts(framed, [[0] * len(places) for places in at], at=at)
        read = batch.batch(range(len(framed)), pad_id=preprocessor.pad_id).to(next(model.parameters()).device)
        logits = model(read).hidden @ model.output_table()[0].t() + model.output_table()[1]
        best = logits.float().softmax(dim=-1).topk(ALTERNATIVES)
        probabilities, tokens = best.values.cpu(), best.indices.cpu()  # (masks, ALTERNATIVES)
        first = 0
        for ids, begin, places in zip(encoded, begins, at, strict=True):
            rows = slice(first, first + len(places))
            yield filled(preprocessor, ids, [begin + place - 1 for place in places], probabilities[rows], tokens[rows])
            first += len(places)

    def examples(self, data: Any, splits: Sequence[str]) -> list[Example]:
        """Sentences of varied lengths, a word of each hidden."""
        found = []
        for split in splits:
            some = [p for p in islice(pieces(data.split(split).paths, "paragraphs"), 2000) if len(p.split()) > 4]
            some.sort(key=lambda piece: len(piece.split()))
            for piece in (some[int(q * (len(some) - 1))] for q in SHOWN if some):
                words = piece.split()
                hidden = len(words) // 2
                found.append(Example(" ".join([*words[:hidden], MASK, *words[hidden + 1 :]]), piece))
        return found

    def asked(self, text: str) -> str:
        """Return the text with something hidden: one mask, at the end, asks for what comes next."""
        return text if MASK in text else f"{text.rstrip()} {MASK}"

    # Which metrics.

    @torch.no_grad()
    def measure(self, model: Any, loader: PretrainingLoader, limit: int | None) -> dict[str, list[Any]]:
        """One pass over a text, or `limit` examples of it: per batch the log-likelihoods, hits, counts."""
        model.eval()
        device = next(model.parameters()).device
        found: dict[str, list[Any]] = {"nll": [], "right": [], "hidden": [], "next_right": [], "pairs": []}
        n = 0
        for batch in loader:
            batch = batch.to(device)
            out = model(batch)
            nll, right = guesses(model, out.hidden, batch)
            found["nll"].append(nll)
            found["right"].append(right)
            found["hidden"].append(len(batch.label))
            if batch.follows is not None:
                found["next_right"].append(int((out.next.argmax(dim=1) == batch.follows).sum()))
                found["pairs"].append(len(batch.text))
            n += len(batch.text)
            if loader.epochs_done >= 1 or (limit and n >= limit):
                return found
        return found

    def figures(
        self, model: Any, preprocessor: Tokenizer, rows: Text, decode: DecodeConfig, limit: int | None = None
    ) -> dict[str, Score]:
        """Perplexity of hidden tokens, and the shares of hidden tokens and of next sentences that were guessed."""
        loader = self.loader(rows, preprocessor, decode.batch_size * self.config.max_length, seed=0)
        found = self.measure(reader(model, decode.precision), loader, limit)
        out = {
            "accuracy": share(found["right"], found["hidden"], "hidden tokens"),
            "perplexity": perplexity(found["nll"], found["hidden"], per="hidden token"),
        }
        if found["pairs"]:
            out["next_sentence"] = share(found["next_right"], found["pairs"], "pairs")
        return out

    def validate(
        self, model: Any, preprocessor: Tokenizer, rows: Text, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """Loss, perplexity and accuracy of hidden tokens, accuracy of next sentences, on n examples; samples."""
        found = self.figures(model, preprocessor, rows, decode, n_examples)
        shown = [p for p in islice(pieces(rows.paths, "paragraphs"), 400) if 6 < len(p.split()) < 20][:4]
        hidden = [" ".join([*p.split()[:3], MASK, *p.split()[4:]]) for p in shown]
        samples = [
            {"source": source, "reference": whole, "output": f"{p.text} ({p.score:.2f})"}
            for source, whole, p in zip(hidden, shown, self.predict(model, preprocessor, hidden, decode), strict=True)
        ]
        figures = {name: each.value for name, each in found.items()}
        return {"loss": float(np.log(figures["perplexity"])), **figures, "samples": samples}

    def evaluate(
        self, model: Any, preprocessor: Tokenizer, rows: Text, decode: DecodeConfig, *, choose_on: Any = None
    ) -> dict[str, Any]:
        """Return the figures of the whole text with 95% intervals over its batches; of a part, if it was trained on."""
        found = self.figures(model, preprocessor, rows, decode, PART if rows.borrowed else None)
        return {name: each.as_dict() for name, each in found.items()} | {"outputs": []}


def guesses(model: Any, hidden: Tensor, batch: TextBatch) -> tuple[float, int]:
    """-Σ log P of the hidden tokens (nats), and how many of them are the likeliest."""
    weight, bias = model.output_table()
    nll, right = 0.0, 0
    for h, y in zip(hidden.split(ROWS_AT_ONCE), batch.label.split(ROWS_AT_ONCE), strict=True):
        log_p = (h @ weight.t() + bias).float().log_softmax(dim=-1)
        nll -= log_p.gather(1, y[:, None]).sum().item()
        right += int((log_p.argmax(dim=1) == y).sum())
    return nll, right


def share(right: Sequence[int], of: Sequence[int], what: str) -> Score:
    """Σ right / Σ of in percent; both per batch."""
    statistics = np.stack([right, of], axis=1).astype(float)
    return score(statistics, lambda sums: 100 * ratio(sums[..., 0], sums[..., 1]), f"accuracy|of:{what}")


def filled(
    preprocessor: Tokenizer, ids: list[int], places: list[int], probabilities: Tensor, tokens: Tensor
) -> Prediction:
    """A text with the likeliest token at each mask; the next likely ones, one mask at a time."""
    best = list(ids)
    for place, row in zip(places, tokens.tolist(), strict=True):
        best[place] = row[0]
    likelihood = float(probabilities[:, 0].prod())
    others = []
    for n, place in enumerate(places):
        for rank in range(1, probabilities.shape[1]):
            changed = [*best]
            changed[place] = int(tokens[n, rank])
            others.append((changed, likelihood * float(probabilities[n, rank] / probabilities[n, 0])))
    others.sort(key=lambda each: -each[1])
    texts = preprocessor.decode([best, *(changed for changed, _ in others)])
    alternatives = [(text, p) for text, (_, p) in zip(texts[1:], others, strict=True)]
    names = [
        ", ".join(f"{t} {p:.2f}" for t, p in zip(preprocessor.tokens(row), column, strict=True))
        for row, column in zip(tokens.tolist(), probabilities.tolist(), strict=True)
    ]
    return Prediction(texts[0], likelihood, alternatives=alternatives, shown=f"{texts[0]}  [{' | '.join(names)}]")

"""Writing: running text in, a model that goes on with a text out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from pydantic import Field

from clew.batches import Block
from clew.config import Choice, DecodeConfig, Recipe, SampleConfig, TaskConfig, TokenizerConfig, TrainConfig
from clew.contracts import Example, Prediction, Task
from clew.data.blocks import BlockLoader, Blocks
from clew.data.documents import Documents, Ends, stretches
from clew.data.text import Text
from clew.decode.likeliest import beam, speculate
from clew.decode.sample import sample
from clew.decode.search import Listener
from clew.decode.writer import writer
from clew.errors import DataError, RecipeError
from clew.metrics.bootstrap import Score
from clew.metrics.perplexity import perplexity
from clew.tasks.agreement import shared_text
from clew.tasks.examples import SHOWN
from clew.tasks.rollouts import roll_out
from clew.text.tokenizer import Tokenizer

ROWS_AT_ONCE = 512  # tokens whose logits over the vocabulary are in memory at a time
PART = 1000  # rows of the training text that are measured where there is no other text


class LanguageModelingConfig(TaskConfig):
    """What makes a text, and how much of it is read at once."""

    kind: str = "language_model"
    max_length: int = Field(256, ge=2)  # tokens of a row
    document: Ends = "paragraphs"  # documents end at blank lines, at each line, or with the file


class LanguageModeling(Task):
    """Guess each next token of a text (Radford et al. 2019), and go on with texts."""

    Config: type[Choice] = LanguageModelingConfig
    preprocessor_class = Tokenizer
    head = "language_model"
    hint = "The beginning of a text."
    writes_on = True
    quality = "log_likelihood"
    compared = "perplexity_per_byte"  # what comparisons look at: models may have other vocabularies
    example_name = "beginning of a text"
    open_ended = True  # many ways of going on would be right
    unit = "tokens"

    # Which examples.

    def preprocessor(self, rows: Text, config: TokenizerConfig, given: Tokenizer | None = None) -> Tokenizer:
        """A vocabulary trained on the text as it stands, or the one given. Raises RecipeError for one of an encoder."""
        if given is None:
            stream = stretches(rows.paths, self.config.document, self.progress("learning the vocabulary"))
            given = Tokenizer.train(islice((text for text in stream if text), config.max_examples), config)
        if not given.exact:
            raise RecipeError(
                "this vocabulary loses the white space of a text", where="tokenizer.kind",
                fix='a model that writes needs kind = "gpt2" or "characters"',
            )  # fmt: skip
        return given

    def compare(self, rows: Text, others: Mapping[str, Text]) -> list[str]:
        """Return a line on each other text that is training text too."""
        return shared_text(rows, others)

    def check_length(self, rows: Text, preprocessor: Tokenizer) -> None:
        """Raise DataError where a text has not one row of `task.max_length` tokens."""
        n, length = len(self.documents(rows, preprocessor).ids), self.config.max_length
        if n <= length:
            raise DataError(
                f"the text has {n:,} tokens, and a row of it takes {length + 1:,}",
                where=rows.report, fix="give more text, or set a shorter task.max_length",
            )  # fmt: skip

    def documents(self, rows: Text, preprocessor: Tokenizer) -> Documents:
        progress = self.progress("encoding text")
        return Documents.encode(rows.paths, preprocessor, ends=self.config.document, running=True, progress=progress)

    def batches(self, rows: Text, preprocessor: Tokenizer, train: TrainConfig, seed: int) -> BlockLoader:
        """Training batches, without end."""
        documents = self.documents(rows, preprocessor)
        return BlockLoader(documents, self.config.max_length, batch=train.batch, seed=seed)

    @property
    def longest(self) -> int:
        return int(self.config.max_length)

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise RecipeError where a beam writes more than the model reads."""
        decode, longest = recipe.decode, recipe.model.max_length
        if decode.beam > 1 and decode.max_length >= longest:
            raise RecipeError(
                f"a beam of {decode.beam} keeps no text longer than the model reads, {longest} tokens, of which one is "
                f"given, and {decode.max_length} are to be written",
                where="decode.max_length", fix=f"set it to {longest - 1} or less, or decode.beam=1",
            )  # fmt: skip

    def roll_out(
        self, model: Any, preprocessor: Tokenizer, prompts: np.ndarray, steps: int, seed: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return roll_out(model, prompts, steps, preprocessor.eos_id, SampleConfig(seed=seed))

    # How to predict.

    def predict(
        self,
        model: Any,
        preprocessor: Tokenizer,
        texts: Iterable[str],
        decode: DecodeConfig,
        *,
        attention: bool = False,
        listener: Listener | None = None,
    ) -> Iterator[Prediction]:
        """Go on with each text by at most `decode.max_length` tokens; text: what was written after it.

        It ends before the first of `decode.sample.stop`, or where the model ends the document. score: the mean
        log-probability of its tokens. listener: is told of every beam search.
        """
        stream, first, model = iter(texts), 0, writer(model, decode.precision)
        while chunk := list(islice(stream, decode.batch_size)):
            yield from self.write(model, preprocessor, chunk, decode, first, listener)
            first += len(chunk)

    def write(
        self,
        model: Any,
        preprocessor: Tokenizer,
        texts: Sequence[str],
        decode: DecodeConfig,
        first: int,
        listener: Listener | None = None,
    ) -> Iterator[Prediction]:
        prompts = preprocessor.encode_prompts(texts)
        if decode.beam > 1:
            yield from self.likeliest(model, preprocessor, texts, prompts, decode, listener)
            return
        written: list[list[int]] = [[] for _ in prompts]
        total, open = [0.0 for _ in prompts], np.ones(len(prompts), dtype=bool)
        outputs = [""] * len(prompts)
        for token, log_p in sample(model, prompts, decode.sample, steps=decode.max_length, first=first):
            for row in np.flatnonzero(open):
                i = int(token[row])
                total[row] += float(log_p[row])
                if i == preprocessor.eos_id:
                    open[row] = False
                    continue
                written[row].append(i)
                if decode.sample.stop:
                    text = preprocessor.decode_after(prompts[row], written[row])
                    outputs[row] = before(text, decode.sample.stop)
                    open[row] = len(outputs[row]) == len(text)
            if not open.any():
                break
        if not decode.sample.stop:
            outputs = [preprocessor.decode_after(*pair) for pair in zip(prompts, written, strict=True)]
        for prompt, text, ids, gained in zip(texts, outputs, written, total, strict=True):
            yield Prediction(text, gained / max(1, len(ids)), shown=prompt + text)

    def likeliest(
        self,
        model: Any,
        preprocessor: Tokenizer,
        texts: Sequence[str],
        prompts: list[list[int]],
        decode: DecodeConfig,
        listener: Listener | None = None,
    ) -> Iterator[Prediction]:
        """Go on with texts by beam search; the other hypotheses are alternatives."""
        found = beam(
            model, prompts, width=decode.beam, steps=decode.max_length, end_id=preprocessor.eos_id,
            length_penalty=decode.length_penalty, listener=listener,
        )  # fmt: skip
        for text, prompt, hypotheses in zip(texts, prompts, found, strict=True):
            whole = [preprocessor.decode_after(prompt, hypothesis.ids) for hypothesis in hypotheses]
            outputs = [before(each, decode.sample.stop) for each in whole]
            pairs = [*zip(outputs, (h.score for h in hypotheses), strict=True)]
            yield Prediction(*pairs[0], alternatives=pairs[1:], shown=text + outputs[0])

    def stream(
        self, model: Any, preprocessor: Tokenizer, text: str, decode: DecodeConfig, draft: Any = None
    ) -> Iterator[str]:
        """What `predict` writes after one text, as it is written: pieces of at least one whole character.

        draft: a smaller model of the same vocabulary that guesses ahead.
        """
        model = writer(model, decode.precision)
        (prompt,) = preprocessor.encode_prompts([text])
        steps: Iterator[int]
        if draft is None:
            steps = (int(token) for token, _ in sample(model, [prompt], decode.sample, steps=decode.max_length))
        else:
            guessing = writer(draft, decode.precision)
            steps = speculate(model, guessing, prompt, decode.sample, steps=decode.max_length)
        ids: list[int] = []
        written = shown = ""
        for token in steps:
            if token == preprocessor.eos_id:
                break
            ids.append(token)
            whole = preprocessor.decode_after(prompt, ids)
            written = before(whole, decode.sample.stop)
            if len(written) < len(whole):
                break
            ready = safe(written, decode.sample.stop)
            if len(ready) > len(shown):
                yield ready[len(shown) :]
                shown = ready
        yield written[len(shown) :]

    def examples(self, data: Any, splits: Sequence[str]) -> list[Example]:
        """Beginnings of stretches of text, and what stands after them there."""
        found = []
        for split in splits:
            some = [text for text in islice(stretches(data.split(split).paths, self.config.document), 200) if text]
            for text in (some[int(q * (len(some) - 1))] for q in SHOWN if some):
                parts = re.split(r"(?<=\s)", text[:400])
                half = len(parts) // 2
                found.append(Example("".join(parts[:half]).rstrip(), "".join(parts[half:])))
        return found

    def searches(self, model: Any, decode: DecodeConfig) -> bool:
        return decode.beam > 1

    # Which metrics.

    @torch.no_grad()
    def measure(self, model: Any, preprocessor: Tokenizer, rows: Text, limit: int | None) -> dict[str, Any]:
        """Of each row of a text, or of `limit` rows spread over it: -Σ log P (nats), tokens, words and bytes."""
        model.eval()
        device = next(model.parameters()).device
        blocks = Blocks(self.documents(rows, preprocessor), self.config.max_length)
        n = blocks.count()
        chosen = np.arange(n)[:: max(1, n // limit)][:limit] if limit else np.arange(n)
        nll, words, bytes = np.zeros(len(chosen)), np.zeros(len(chosen)), np.zeros(len(chosen))
        table = spaces(preprocessor)
        at_once = max(1, 4096 // self.config.max_length)
        for begin in range(0, len(chosen), at_once):
            batch = blocks.batch(chosen[begin : begin + at_once])
            rows_of = slice(begin, begin + len(batch.text))
            nll[rows_of] = row_nll(model, batch.to(device)).cpu().numpy()
            bytes[rows_of] = preprocessor.n_bytes[batch.target.numpy()].sum(axis=1)
            words[rows_of] = begun(batch, *table)
        return {"nll": nll, "tokens": np.full(len(chosen), blocks.length), "words": words, "bytes": bytes}

    def floor(self, rows: Text) -> float:
        """None for a log-likelihood and a reward, which are negative as a rule."""
        return -math.inf if self.judge in ("log_likelihood", "reward") else 0.0

    def figures(self, model: Any, preprocessor: Tokenizer, rows: Text, limit: int | None) -> dict[str, Score]:
        """Perplexity per token, word and byte; only the last two compare models of different vocabularies."""
        found = self.measure(model, preprocessor, rows, limit)
        return {
            "perplexity": perplexity(found["nll"], found["tokens"]),
            "perplexity_per_word": perplexity(found["nll"], found["words"], per="word"),
            "perplexity_per_byte": perplexity(found["nll"], found["bytes"], per="byte"),
        }

    def validate(
        self, model: Any, preprocessor: Tokenizer, rows: Text, decode: DecodeConfig, n_examples: int
    ) -> dict[str, Any]:
        """Loss and perplexities on n rows of the text, spread evenly; samples."""
        figures = {name: each.value for name, each in self.figures(model, preprocessor, rows, n_examples).items()}
        text = next(text for text in stretches(rows.paths, self.config.document) if text)
        beginning = text[:60].rsplit(None, 1)[0]
        with torch.random.fork_rng(devices=[]):
            short = decode.model_copy(update={"max_length": min(decode.max_length, 100)})
            (output,) = self.predict(model, preprocessor, [beginning], short)
        loss = float(np.log(figures["perplexity"]))
        sample = {"source": beginning, "reference": text[len(beginning) :][: len(output.text)], "output": output.text}
        return {"loss": loss, "log_likelihood": -loss, **figures, "samples": [sample]}

    def evaluate(
        self, model: Any, preprocessor: Tokenizer, rows: Text, decode: DecodeConfig, *, choose_on: Any = None
    ) -> dict[str, Any]:
        """Perplexities of the whole text, with 95% intervals over its rows; of a part of it, if it was trained on."""
        found = self.figures(model, preprocessor, rows, PART if rows.borrowed else None)
        return {name: each.as_dict() for name, each in found.items()} | {"outputs": []}


def row_nll(model: Any, batch: Block) -> torch.Tensor:
    """-Σ log P of the targets of each row, (batch,) in nats."""
    hidden, target = model(batch.text, batch.position).hidden.flatten(0, 1), batch.target.flatten()
    parts = zip(hidden.split(ROWS_AT_ONCE), target.split(ROWS_AT_ONCE), strict=True)
    nll = [torch.nn.functional.cross_entropy(model.logits(h).float(), y, reduction="none") for h, y in parts]
    return torch.cat(nll).double().view(batch.text.shape).sum(dim=1)


def spaces(preprocessor: Tokenizer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each token (V,): how many words begin in it after a space, and whether it begins and ends without one."""
    pieces = [piece.replace("▁", " ") for piece in preprocessor.tokens(range(len(preprocessor)))]
    pieces = ["\n" if i == preprocessor.eos_id else piece for i, piece in enumerate(pieces)]
    n = np.array([len(piece.split()) for piece in pieces])
    return n, np.array([not piece[0].isspace() for piece in pieces]), np.array([not p[-1].isspace() for p in pieces])


def begun(batch: Block, n: np.ndarray, opens: np.ndarray, closes: np.ndarray) -> np.ndarray:
    """How many words begin among the targets of each row, (batch,); one goes on where neither side has a space."""
    text, target = batch.text.numpy(), batch.target.numpy()
    found: np.ndarray = (n[target] - (opens[target] & closes[text])).sum(axis=1)
    return found


def before(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stop strings."""
    return text[: min((place for each in stop if (place := text.find(each)) >= 0), default=len(text))]


def safe(text: str, stop: Sequence[str]) -> str:
    """What of a text that goes on can be shown: no broken character, nothing with which a stop string may begin."""
    text = text.rstrip("\ufffd")
    tails = [n for each in stop for n in range(1, len(each)) if text.endswith(each[:n])]
    return text[: len(text) - max(tails, default=0)]

"""`clew predict`: run a trained model on texts, on a file of them, on images, or on standard input."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clew.cli.say import echo, model_of, shown
from clew.cli.trust import Trust
from clew.errors import DataError, RecipeError

if TYPE_CHECKING:
    from clew.contracts import Prediction


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT|FILE|IMAGE|-",
            help="A text, a file of one text a line, a table, or - for stdin; of a run of images, an image.",
        ),
    ] = "-",
    more: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MORE… KEY=VALUE…",
            help="More of the same; settings of decode: decode.sample.temperature=0.7, …max_length=40.",
        ),
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="1 is greedy; the recipe's by default.")] = None,
    n_best: Annotated[
        int, typer.Option(min=1, help="Print so many hypotheses of each: line number, score, text; tabs between.")
    ] = 1,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or int8.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Texts decoded at once.")] = None,
    column: Annotated[
        str, typer.Option(metavar="NAME[,NAME]", help="Of a table: the columns to read; those of the task by default.")
    ] = "",
    encoding: Annotated[str, typer.Option(help="Of a file: cp1252, …; found out by default.")] = "",
    draft: Annotated[
        Path | None,
        typer.Option(help="Of a model that writes: a smaller run of the same vocabulary that guesses ahead."),
    ] = None,
    attention: Annotated[bool, typer.Option(help="With --json: the attention maps too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line per text.")] = False,
    trust: Trust = False,
) -> None:
    """Run a trained model on a text, a file or standard input; one line out for each line in, in the same order.

    Of images: path, answer and its probability, with tabs between; standard input holds their paths.
    """
    from clew.cli.evaluate import changed
    from clew.recipe_file import recipe_of_run

    if attention and not as_json:
        raise RecipeError("attention maps have no plain-text form", where="--attention", fix="add --json")
    recipe_of_run(run)  # before the models are imported
    from clew.runs import Run

    opened, more = Run.open(run), more or []
    if text.startswith("decode.") and "=" in text:  # no text, but its settings
        text, more = "-", [text, *more]
    given = [each for each in more if "=" in each and not is_file(each)]
    asked = [text, *(each for each in more if each not in given)]
    options = {"beam": beam, "precision": precision, "batch_size": batch_size}
    given += [f"decode.{name}={value}" for name, value in options.items() if value is not None]
    recipe, task, preprocessor = changed(opened, given, "decode"), opened.task, opened.preprocessor()
    decode = recipe.decode.model_copy(update={"beam": max(recipe.decode.beam, n_best)})
    model = model_of(opened)
    if len(asked) == 1 and streams(task, decode, text, as_json):
        echo(text, nl=False)
        guessing = draft and drafted(draft, preprocessor)
        for piece in task.stream(model, preprocessor, text, decode, guessing):
            echo(piece, nl=False)
            sys.stdout.flush()
        echo()
        return
    if draft is not None:
        raise RecipeError(
            "only one text that is drawn can be guessed ahead", where="--draft", fix="give a text, beam 1"
        )
    files = preprocessor.files
    source = Source(task, [name.strip() for name in column.split(",") if name.strip()], encoding, files)
    texts, names = tee(line for each in asked for line in source.lines(each))
    # At a terminal each line is answered as it is typed.
    groups = ([one] for one in texts) if text == "-" and sys.stdin.isatty() else [texts]

    def ask(group: Iterator[str]) -> Iterator[Prediction]:
        parsed = (preprocessor.parse(line, Path()) for line in group)
        return task.predict(model, preprocessor, parsed, decode, attention=attention)

    found = (prediction for group in groups for prediction in but_blank(group, ask))
    answers = zip(
        watched(found, source, "" if files else text), names, strict=False
    )  # answers first: they read the names
    for number, (prediction, name) in enumerate(answers, start=1):
        best = [(prediction.text, prediction.score), *prediction.alternatives][:n_best]
        if as_json:
            said = {"file": name} if files else {}
            echo(json.dumps(said | document(prediction, best, attention), ensure_ascii=False))
        elif n_best == 1:
            answer = prediction.shown or prediction.text
            echo(f"{name}\t{answer}\t{prediction.score:.4f}" if files else answer)
        else:
            for hypothesis, score in best:
                echo(f"{number}\t{score:.4f}\t{hypothesis}")
    if n := task.n_shortened:
        echo(f"{n:,} {task.example_name}{'s were' if n > 1 else ' was'} {task.shortened}", err=True)


def drafted(run: Path, preprocessor: Any) -> Any:
    """The model that guesses ahead. Raises RecipeError where its vocabulary is another."""
    from clew.runs import Run

    opened = Run.open(run)
    if opened.preprocessor().inner.to_str() != preprocessor.inner.to_str():
        raise RecipeError("its vocabulary is another", where="--draft", fix="train it with tokenizer.start = RUN")
    return opened.model()


def streams(task: Any, decode: Any, text: str, as_json: bool) -> bool:
    """Whether what is written can be shown as it is written: one given text, of which one continuation is drawn."""
    drawn = task.writes_on and decode.beam == 1 and not as_json
    return bool(drawn and text != "-" and not is_file(text) and sentence(text))


def document(prediction: Any, best: list[tuple[str, float]], attention: bool) -> dict[str, Any]:
    """What --json prints for one text."""
    out: dict[str, Any] = {
        "text": prediction.text, "score": prediction.score,
        "n_best": [{"text": text, "score": score} for text, score in best],
    }  # fmt: skip
    if attention:
        out["source_tokens"], out["target_tokens"] = prediction.source_tokens, prediction.target_tokens
        out["attention"] = {name: weights.tolist() for name, weights in prediction.attention}
    return out


def watched(predictions: Iterable[Any], source: Source, text: str) -> Iterator[Any]:
    """Yield predictions, with a bar on standard error for a file, where someone watches and output goes elsewhere."""
    if not is_file(text) or not sys.stderr.isatty() or sys.stdout.isatty():
        yield from predictions
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    total = sum(1 for _ in source.lines(text, say=False))
    with Progress(console=Console(stderr=True), redirect_stdout=False) as progress:
        yield from progress.track(predictions, total=total, description=escape(shown(Path(text).name)))


class Source:
    """What a model is asked about: texts of the command line, files and tables, standard input; files: each is a file,
    so that a path is an input."""

    def __init__(self, task: Any, columns: Sequence[str], encoding: str, files: bool) -> None:
        self.fields = [*task.fields][: task.n_fields]
        self.columns, self.encoding, self.files = columns, encoding, files

    def lines(self, text: str, say: bool = True) -> Iterator[str]:
        """The inputs to predict, read as they are asked for; say: on standard error, what a file was taken for."""
        from clew.data.asked import of_stream, texts, understood

        if self.files and text != "-":
            yield text
        elif text == "-" and not self.columns:
            with sys.stdin.buffer as stream:
                yield from of_stream(stream, "standard input")
        elif text != "-" and not is_file(text):
            yield sentence(text)
        else:
            found = understood(Path("/dev/stdin" if text == "-" else text), self.fields, self.columns, self.encoding)
            if say and (found.format != "lines" or not found.opened.plain):
                echo(f"{found}; read: {', '.join(self.columns or self.fields)}", err=True)
            yield from texts(found, self.fields, self.columns)


def is_file(text: str) -> bool:
    """Whether there is a file of that name, or a pipe such as <(zcat …)."""
    return os.path.exists(text) and not os.path.isdir(text)


def but_blank(texts: Iterable[str], predict: Callable[[Iterator[str]], Iterable[Prediction]]) -> Iterator[Prediction]:
    """What `predict` says of each text, and an empty prediction in its place for one that is blank."""
    from clew.contracts import Prediction

    gaps = deque([0])  # blank texts before each of those that are asked, as they are read

    def asked() -> Iterator[str]:
        for text in texts:
            if text.strip():
                gaps.append(0)
                yield text
            else:
                gaps[-1] += 1

    for prediction in predict(asked()):
        yield from (Prediction("", 0.0) for _ in range(gaps.popleft()))
        yield prediction
    yield from (Prediction("", 0.0) for _ in range(gaps.popleft()))


def sentence(text: str) -> str:
    """A text given on the command line. Raises DataError where it was meant to be a file."""
    looks_like_a_path = len(text.split()) == 1 and (os.sep in text or Path(text).suffix[1:].isalpha())
    if looks_like_a_path:
        raise DataError(
            "there is no such file",
            where=text,
            fix=f"to run the model on this very text: echo '{text}' | clew predict RUN -",
        )
    return text

"""`clew data`: the known data sets, and what one of them holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clew.cli.say import echo
from clew.cli.trust import Trust

if TYPE_CHECKING:
    from clew.data.catalogue import Catalogue
    from clew.text.report import VocabularyReport

Kind = Literal["word", "bpe", "byte_bpe", "wordpiece", "unigram"]


def data(
    name: Annotated[
        str | None,
        typer.Argument(help="A known data set; with --explain also a text file or a recipe; none: list them all."),
    ] = None,
    columns: Annotated[str, typer.Option(help="Columns to show, separated by commas; none: all.")] = "",
    folder: Annotated[Path | None, typer.Option(help="Where its files are, if not in the usual places.")] = None,
    split: Annotated[str, typer.Option(help="train, valid or test; none: the first that it has.")] = "",
    rows: Annotated[int, typer.Option(min=1, help="How many examples to show.")] = 5,
    tokenizer: Annotated[
        Kind | None, typer.Option(help="Train such a tokenizer on it and report its coverage.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(min=8, help="Size of that tokenizer's vocabulary.")] = 8000,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Of running text: how training pairs come of it; of a recipe: what is masked."),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --explain: settings of presets/words.toml."),
    ] = None,
    empty: Annotated[
        bool, typer.Option("--cache", help="Empty the cache of encoded text, and say what it held.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print for machines.")] = False,
    trust: Trust = False,
) -> None:
    """List the known data sets; with a name, show its terms, its first rows and what a tokenizer makes of it."""
    if empty:
        from clew.data.cache import cache, clear

        n, size = clear()
        echo(f"{cache()}: {n} encoded texts, {size / 1e6:,.1f} MB, deleted")
        return
    if name is None:
        _list(as_json)
        return
    if explain:
        (_explain_masks if name.endswith(".toml") else _explain)(name, settings or [], as_json)
        return
    from clew.data.catalogue import Catalogue, CatalogueConfig, locate

    chosen = tuple(column.strip() for column in columns.split(",") if column.strip())
    source = Catalogue(CatalogueConfig(name=name, columns=chosen, folder=str(folder) if folder else None))
    place = locate(name, str(folder) if folder else None)
    split = split or source.splits[0]
    table = source.split(split)
    examples = [
        dict(zip(table.columns, row, strict=True)) for row in list(zip(*table.columns.values(), strict=True))[:rows]
    ]
    report = _vocabulary(source, tokenizer, vocab_size) if tokenizer else None
    if as_json:
        shown = {"name": name, **source.about, "hub": source.entry.hub, "folder": str(place), "splits": source.splits}
        shown |= {"split": split, "rows": len(table), "read": str(table.report), "examples": examples}
        if report:
            shown["vocabulary"] = vars(report)
        echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    for key, value in {**source.about, "folder": place, "splits": ", ".join(source.splits)}.items():
        echo(f"{key:8} {value}")
    echo(f"{split:8} {table.report}\n")
    for example in examples:
        for column, value in example.items():
            echo(f"{column}: {value}")
        echo()
    if report:
        echo(f"{tokenizer} {report}")


def _explain(name: str, settings: list[str], as_json: bool) -> None:
    """Count, subsample and window a text as the preset for word vectors does, and show each step."""
    from importlib.resources import as_file, files

    from clew.config import build
    from clew.inspect.words import explain
    from clew.recipe_file import load_recipe

    own = f"data.train={json.dumps([name])}" if Path(name).exists() else f"data.name={json.dumps(name)}"
    with as_file(files("clew.presets") / "words.toml") as preset:
        recipe, _ = load_recipe(preset, [own, *settings])
    text = build("data", recipe.data).split("train")
    vocabulary = build("task", recipe.task).preprocessor(text, recipe.tokenizer)
    objective: Any = recipe.objective
    found = explain(text.paths, vocabulary, window=objective.window, subsample=objective.subsample, seed=recipe.seed)
    if as_json:
        echo(json.dumps({"text": text.report, "counts": vars(vocabulary.report), **asdict(found)}, ensure_ascii=False))
        return
    echo(f"{text.report}\n{vocabulary.report}; {len(vocabulary):,} words kept\n")
    echo(f"1. a sentence, as the vocabulary has it\n   {' '.join(found.sentence)}\n")
    echo(f"2. frequent words are dropped at random (subsample {objective.subsample:g}), here down to")
    echo(f"   {' '.join(found.kept)}\n")
    echo("   word               count     kept   drawn as a negative")
    for word in found.words:
        echo(f"   {word.word:<14} {word.count:>9,}  {word.keep:>6.1%}   {word.noise:>10.4%}")
    echo(f"\n3. each word left predicts up to {objective.window} on each side; how far is drawn for each")
    for centre, context in found.pairs:
        echo(f"   {centre:<14} → {' '.join(context) or '(nothing: its window is empty)'}")
    echo(f"\nabout {found.pairs_per_epoch:,.0f} pairs in one reading of the text, each against "
               f"{objective.negatives} words drawn at random")  # fmt: skip


def _explain_masks(path: str, settings: list[str], as_json: bool) -> None:
    """Show an example as the recipe's pre-training makes it: texts, what is read, what is asked."""
    from clew.config import build
    from clew.errors import RecipeError
    from clew.inspect.masking import explain
    from clew.recipe_file import load_recipe
    from clew.runs.start import Start, complete

    recipe = complete(load_recipe(path, settings)[0])
    task = build("task", recipe.task)
    if not task.hides_tokens:
        raise RecipeError("nothing is masked by this recipe", where=path, fix='give one whose task.kind is "pretrain"')
    text = build("data", recipe.data).split("train")
    tokenizer = Start(recipe).preprocessor(task, text)
    found = explain(next(iter(task.batches(text, tokenizer, recipe.train, recipe.seed))), tokenizer)
    if as_json:
        echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    echo(f"{text.report}\n{tokenizer}\n")
    for number, pieces in enumerate(found.texts):
        echo(f"{'AB'[number]}: {' '.join(pieces)}\n")
    if found.follows is not None:
        echo(f"B {'goes on with A' if found.follows else 'comes from another document'}: that is asked of [CLS]\n")
    echo(f"what the model reads:\n   {' '.join(found.read)}\n")
    echo(f"what it is asked, {len(found.asked)} tokens of {len(found.read)}:")
    for asked in found.asked:
        echo(f"   {asked.place:>4}  {asked.read:<14} → {asked.true:<14} {asked.case}")


def _vocabulary(source: Catalogue, kind: Kind, vocab_size: int) -> VocabularyReport:
    """Train on the training split; report on the validation split, whose words the vocabulary has not seen."""
    from clew.config import TokenizerConfig
    from clew.errors import DataError
    from clew.text.tokenizer import Tokenizer

    if not {"train", "valid"} <= set(source.splits):
        raise DataError("a vocabulary report needs a train and a valid split", where=source.config.name)
    train, valid = (
        [text for column in source.split(s).columns.values() for text in column] for s in ("train", "valid")
    )
    return Tokenizer.train(train, TokenizerConfig(kind=kind, vocab_size=vocab_size)).report(valid)


def _list(as_json: bool) -> None:
    from clew.data.catalogue import places
    from clew.data.entry import entries

    sets: list[dict[str, Any]] = []
    for name, entry in entries().items():
        here = next((str(place) for place in places(name) if place.is_dir()), None)
        sets.append(
            {"name": name, "what": entry.what, "columns": entry.columns, "rows": entry.rows, "size": entry.size}
            | {"licence": entry.licence, "format": entry.format, "url": entry.url, "hub": entry.hub, "folder": here}
        )
    if as_json:
        echo(json.dumps(sets, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="known data sets", box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "what", "rows", "MB", "licence", "here"):
        narrow = heading in ("name", "MB", "here")
        table.add_column(heading, justify="right" if heading == "MB" else "left", no_wrap=narrow, overflow="fold")
    for row in sets:
        here = "yes" if row["folder"] else "no"
        table.add_row(row["name"], row["what"], row["rows"], f"{row['size'] / 1e6:.1f}", row["licence"], here)
    Console().print(table)
    echo("\n`clew data NAME` shows one of them; rows are train / valid / test.")
    echo('The embedded corpus (kind = "grammar") and your own files (kind = "files") need no entry here.')

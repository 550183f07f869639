"""What `clew train FILES…` makes of files that come without a recipe: by what they are found to hold."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from clew.cli import labelled
from clew.cli.say import echo
from clew.errors import RecipeError

PAIR = ("source", "target")
ADVICE = "give one recipe (.toml), one text or more, two texts of parallel lines, or tables (.tsv, .csv, .jsonl, …)"


def own_files(
    paths: Sequence[str], overrides: Sequence[str] = (), *, task: str = "", text: str = "", label: str = ""
) -> tuple[str, list[str]]:
    """Return the preset for these files, and what turns it into their recipe.

    task: classify, translate, or "": what they look like; text, label: the columns of a table of labels. Two files of a
    text a line are parallel; more of them, or a folder, are one corpus. Raise RecipeError where it would have to be
    guessed which columns of a table are meant, with the names that it has.
    """
    from clew.data.json_rows import names_of
    from clew.data.lines import expand
    from clew.data.opened import readable
    from clew.data.understood import sniff
    from clew.presets import PRESETS

    if not paths:
        raise RecipeError("no file was given", where="command line", fix=ADVICE)
    name = f"name={json.dumps(named(Path(paths[0])))}"
    if len(paths) == 1 and os.path.isdir(paths[0]) and "folder" in PRESETS and pictures(Path(paths[0])):
        return PRESETS["folder"], [f"name={json.dumps(Path(paths[0]).resolve().name)}",
                                   f"data.folder={json.dumps(paths[0])}"]  # fmt: skip
    if any(readable(path) != Path(path) for path in paths):
        echo("what comes through a pipe is not kept: to go on with this run later, give a file", err=True)
    paths = [str(readable(path)) for path in paths]
    files = {path: sniff(path) for path in expand(paths)}
    tables = {path: found for path, found in files.items() if found.format != "lines"}
    train = f"data.train={json.dumps(paths)}"
    if not tables:
        if len(paths) != 2 or any(map(os.path.isdir, paths)):
            return PRESETS["text"], [name, train]
        return PRESETS["pairs"], [name, train, *columns(endings(paths))]
    if len(tables) < len(files):
        other = next(path for path in files if path not in tables)
        raise RecipeError(f"{next(iter(tables))} is a table, and {other} is a text", where="command line", fix=ADVICE)
    path, first = next(iter(tables.items()))
    names = first.names or names_of(path)
    told = given(overrides)
    if task == "classify" or text or label:
        return PRESETS["labelled"], [name, train, *labelled.settings(text or "text", label or "label")]
    if not task and not any(key in told for key in ("task.source", "task.target", "data.columns", "data.names")):
        rows = seen(paths, names, first.header or bool(first.names), told.get("data.encoding", ""))
        own = [*rows] == [*names]
        if (found := labelled.look(rows)) and labelled.agreed(paths[0], found, own, overrides):
            more = [] if own else [f"data.names={labelled.columns(*rows)}"]
            return PRESETS["labelled"], [name, train, *labelled.settings(found.text, found.label), *more]
    return PRESETS["pairs"], [name, train, *columns(chosen(path, names, first.header, told))]


def seen(paths: Sequence[str], names: Sequence[str], header: bool, encoding: str) -> dict[str, Sequence[str]]:
    """The first rows of tables by their columns, which are called text and label where two have no names.

    A first row that says what other rows say too is no header. Nothing where there are no such rows.
    """
    from clew.data.files import Files, FilesConfig
    from clew.errors import DataError

    def read(columns: Sequence[str], header: bool) -> dict[str, Sequence[str]]:
        config = FilesConfig(
            train=tuple(paths), columns=tuple(columns), names=() if header else tuple(columns), first=labelled.SEEN,
            hold_out=0, encoding=encoding,
        )  # fmt: skip
        rows = Files(config).split("train")
        return {name: rows[name] for name in columns}

    try:
        if header:
            found = read([name for name in names if name], True)
            if len(names) != 2 or not any(name in values for name, values in found.items()):
                return found
        return read(["text", "label"], False) if len(names) == 2 else {}
    except DataError as error:
        if "cannot be read" in error.what:  # in another encoding, say: whatever is learned would read it no better
            raise
        return {}


def named(path: Path) -> str:
    """What a run is called after a file or folder."""
    return path.resolve().name.split(".")[0] or "own" if path.is_file() or path.is_dir() else "pipe"


def given(overrides: Sequence[str]) -> dict[str, str]:
    """The settings of the command line that say what columns are called."""
    pairs = (each.partition("=") for each in overrides)
    return {key: value.strip().strip('"') for key, _, value in pairs if key.startswith(("task.", "data."))}


def chosen(path: Path, names: Sequence[str], header: bool, settings: dict[str, str]) -> Sequence[str]:
    """The columns of a table that are source and target. Raise RecipeError where that would be a guess."""
    told = tuple(settings.get(f"task.{side}", side) for side in PAIR)
    if header and all(name in names for name in told):
        return told
    if "data.columns" in settings or "data.names" in settings or (not header and len(names) == 2):
        return told
    if not header:
        raise RecipeError(
            f"it has {len(names)} columns and no header", where=str(path),
            fix=f"say what they are called, source and target among them: 'data.names={example(len(names))}'",
        )  # fmt: skip
    shown = ", ".join(names)
    if absent := [name for side, name in zip(PAIR, told, strict=True) if name != side and name not in names]:
        raise RecipeError(f'there is no column "{absent[0]}"', where=str(path), fix=f"columns there: {shown}")
    raise RecipeError(
        f"which of its columns ({shown}) is what is read, and which is what is written?", where=str(path),
        fix=f"to translate, name both: clew train {path.name} {asked(names)}; where that is a row and no header: "
        f"'data.names={example(len(names))}'; for labels or tags, write a recipe",
    )  # fmt: skip


def asked(names: Sequence[str]) -> str:
    """The settings that name the first and the last of some columns, as a shell takes them."""
    return " ".join(shlex.quote(f"task.{side}={name}") for side, name in zip(PAIR, (names[0], names[-1]), strict=True))


def example(n: int) -> str:
    return json.dumps([*PAIR, *(f"column{i}" for i in range(3, n + 1))][:n])


def columns(names: Sequence[str]) -> list[str]:
    source, target = map(json.dumps, names)
    return [f"data.columns={json.dumps([*names])}", f"task.source={source}", f"task.target={target}"]


def endings(paths: Sequence[str]) -> Sequence[str]:
    """What two parallel files are called: pairs.de and pairs.en name their own columns."""
    from clew.data.opened import SUFFIXES

    suffixes = [[each for each in Path(path).suffixes if each not in SUFFIXES] for path in paths]
    found = [each[-1][1:] if each else "" for each in suffixes]
    own = len(set(found)) == 2 and all(ending.isalpha() and ending != "txt" for ending in found)
    return found if own else PAIR


def pictures(folder: Path) -> bool:
    """Whether a folder holds images."""
    from clew.data.image_folder import SUFFIXES

    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))

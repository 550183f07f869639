"""Recipe files: read TOML with `extends` and `key=value` overrides, remember where each came from, write it back."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from clew.config import KINDS, Recipe, reading_received, resolve
from clew.errors import RecipeError, RunError

Provenance = dict[str, str]  # dotted key → "file:line", "override" or "default"
Tree = dict[str, Any]  # nested tables whose leaves are Sourced

# Tables whose kinds share all their settings: another kind keeps the others, instead of replacing the table.
SAME_SETTINGS = {"tokenizer"}
# Tables whose keys exclude one another: what is set later stands for the whole table.
ONE_OF = {"batch"}


MOST_DEEP = 20  # tables and lists within one another
WARMUP = "train.schedule.warmup"


class Sourced(NamedTuple):
    """A value and where it was written."""

    value: Any
    where: str


class Whole(dict[str, Any]):
    """A table of settings that stands for all that was set there."""


def load_recipe(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> tuple[Recipe, Provenance]:
    """Read the recipe at `path` over what it `extends`, then apply `key.sub=value` overrides.

    Tables merge; a table that names another `kind` than the one below it replaces it, since settings belong to a kind;
    a `size` stands for all the settings that it is published with, and takes the place of those below it. A key that is
    set above a preset leaves the preset's `fit`; where no file has a `fit`, the warm-up is in it, unless it was set.
    An override's value is read as TOML, and as plain text where it is not TOML; one that is a table is the whole table.
    Raises RecipeError (file and line, key, remedy) for unreadable files, circles, unknown keys, wrong values, and for
    classes from outside of clew in a run folder's recipe that is not trusted (see `clew.config.reading_received`).
    """
    own = Path(path).name != "recipe.toml" or not Path(path).with_name("config.json").exists()
    with nullcontext() if own else reading_received():
        return _load(path, overrides, received=not own)


def load_received(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """Return the recipe that came with a run folder, as `load_recipe` reads it, whatever else the folder holds."""
    with reading_received():
        return _load(path, overrides, received=True)[0]


def _load(path: str | Path, overrides: list[str] | tuple[str, ...], *, received: bool) -> tuple[Recipe, Provenance]:
    tree = merge(_read(Path(path), (), alone=received), with_brought(modernise(_parse_overrides(overrides))))
    if "fit" not in tree and not _writes(tree, WARMUP):
        tree["fit"] = Sourced([WARMUP], "default")
    origins, values = dict(_origins(tree)), _values(tree)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise _explain(error, values, origins, path) from error
    except RecipeError as error:  # an unknown kind: say in which file it stands
        key = next((key for key in origins if f".{error.where}." in f".{key}."), error.where)
        raise RecipeError(error.what, where=_place(key, origins, path), fix=error.fix) from error
    return recipe, {key: next((where for _, where in _under(key, origins)), "default") for key in _keys(recipe)}


def modernise(tree: Tree) -> Tree:
    """Return the tree with settings of former versions where they stand today."""
    train, objective = tree.get("train", {}), tree.get("objective", {})
    if "batch_tokens" in train:
        train["batch"] = Whole(tokens=train.pop("batch_tokens"))
    if "word_vectors" in objective:
        kind = objective["word_vectors"]._replace(value="token_statistics")
        tree["initialiser"] = {"kind": kind, "word_vectors": objective.pop("word_vectors")}
    return tree


def with_brought(tree: Tree) -> Tree:
    """Return what one file, or the command line, says, over what the kind of model that it names brings with it."""
    kind = tree.get("model", {}).get("kind")
    if not isinstance(kind, Sourced):
        return tree
    try:
        brings = resolve("model", str(kind.value)).Config.brings
    except RecipeError:  # an unknown kind: told with its place when the whole recipe is read
        return tree
    return merge(_marked(brings, f"{kind.where} (a {kind.value} brings it)"), tree)


def _marked(table: Mapping[str, Any], where: str) -> Tree:
    return {
        key: _marked(value, where) if isinstance(value, Mapping) else Sourced(value, where)
        for key, value in table.items()
    }


def merge(below: Tree, above: Tree) -> Tree:
    """Return `below` with `above` laid over it, table by table."""
    result = type(below)(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and not _replaces(value, old, key):
            result[key] = merge(_unsized(old, value, key), value)
        else:
            result[key] = value
    if "fit" in below and "fit" not in above:
        open_keys = [key for key in below["fit"].value if not _writes(above, key)]
        result["fit"] = below["fit"]._replace(value=open_keys)
    return result


def _writes(tree: Tree, key: str) -> bool:
    """Return whether a tree sets a dotted key, something within it, or a whole table that it stands in."""
    found: Any = tree
    for name in key.split("."):
        if not isinstance(found, dict) or name not in found:
            return isinstance(found, Whole)
        found = found[name]
    return True


def _unsized(below: Tree, above: Tree, section: str) -> Tree:
    """Return `below` without the settings that a published `size` above it stands for: what is nearer wins."""
    kind, size = above.get("kind", below.get("kind")), above.get("size")
    if section not in KINDS or kind is None or size is None:
        return below
    sized = resolve(section, kind.value).Config.published().get(size.value, {})
    return type(below)({name: value for name, value in below.items() if name not in sized})


def _replaces(above: Tree, below: Tree, key: str) -> bool:
    if key in ONE_OF or isinstance(above, Whole):
        return True
    kind, old = above.get("kind"), below.get("kind")
    if key in SAME_SETTINGS or not isinstance(kind, Sourced) or not isinstance(old, Sourced):
        return False
    return bool(kind.value != old.value)


def _read(path: Path, seen: tuple[Path, ...], *, alone: bool = False) -> Tree:
    """Read one file over the chain of those that it extends; alone: it may extend none, as in a run folder."""
    if path.resolve() in seen:
        chain = " → ".join(file.name for file in (*seen, path))
        raise RecipeError(f"`extends` goes in a circle: {chain}", where=str(path), fix="remove one `extends`")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError("the recipe is not UTF-8 text", where=str(path), fix="save it as UTF-8") from error
    except OSError as error:
        by = f" (extended by {seen[-1].name})" if seen else ""
        reason = f"cannot read the recipe{by}: {error.strerror}"
        raise RecipeError(reason, where=str(path), fix="give the path of a TOML file") from error
    try:
        if alone and any(line.partition("=")[0].count(".") > MOST_DEEP for line in text.splitlines()):
            raise RecursionError("tables within tables")  # of which the parser takes minutes to find out
        table = tomllib.loads(text)
        if (deep := depth(table)) > MOST_DEEP:
            raise RecursionError(f"tables within tables, {deep} deep")
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe is not valid TOML: {error}", where=str(path), fix="correct that line") from error
    except RecursionError as error:
        raise RecipeError(f"this is no recipe: {error}", where=str(path), fix="give a recipe of clew's") from error
    base = table.pop("extends", None)
    if base is not None and alone:
        raise RecipeError("the recipe of a run extends no other", where=str(path), fix="write it out: clew recipe FILE")
    tree = with_brought(modernise(_sourced(table, str(path), _lines(text))))
    if base is None:
        return tree
    if not isinstance(base, str):
        raise RecipeError("`extends` must name one file", where=str(path), fix='write extends = "base.toml"')
    return merge(_read(path.parent / base, (*seen, path.resolve())), tree)


def depth(value: Any) -> int:
    """Return how many tables and lists stand within one another, without recursion."""
    deep, level = 0, [value]
    while level:
        inside = [list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        level = [each for values in inside for each in values]
        deep += bool(inside)
    return deep


def recipe_of_run(folder: str | Path) -> Path:
    """Return the recipe file of a run folder. Raise RunError where there is none: that is no run."""
    file = Path(folder) / "recipe.toml"
    if not file.is_file():
        raise RunError("there is no run here", where=str(folder), fix="give the folder that `clew train` wrote")
    return file


def _lines(text: str) -> dict[str, int]:
    """Return dotted key → line number, for what stands at the start of a line.

    tomllib gives no positions. Only keys that tomllib did find are looked up here, so that text which merely looks like
    a key inside a long string misleads nobody but where the same key is written twice.
    """
    table = ""
    found: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\[\]]+?)\s*\]", line):
            table = re.sub(r"[\s\"']", "", header[1])
            found.setdefault(table, number)
        elif key := re.match(r"\s*([\w.\-\"' ]+?)\s*=", line):
            name = re.sub(r"[\s\"']", "", key[1])
            found.setdefault(f"{table}.{name}" if table else name, number)
    return found


def _sourced(table: Mapping[str, Any], file: str, lines: dict[str, int], prefix: str = "", line: int = 1) -> Tree:
    """Turn a parsed table into a tree of sourced leaves; a key within `{…}` stands on the line of its table."""
    tree: Tree = {}
    for key, value in table.items():
        dotted = f"{prefix}{key}"
        at = lines.get(dotted, line)
        nested = isinstance(value, dict)
        tree[key] = _sourced(value, file, lines, f"{dotted}.", at) if nested else Sourced(value, f"{file}:{at}")
    return tree


def _parse_overrides(overrides: list[str] | tuple[str, ...]) -> Tree:
    tree: Tree = {}
    for override in overrides:
        dotted, equals, text = override.partition("=")
        keys = [key.strip() for key in dotted.split(".")]
        if not equals or not all(keys):
            raise RecipeError(f'cannot read the override "{override}"', where="command line", fix="write key.sub=value")
        value = parse_value(text.strip())
        leaf: Any = Whole(_marked(value, "override")) if isinstance(value, dict) else Sourced(value, "override")
        for key in reversed(keys):
            leaf = {key: leaf}
        tree = merge(tree, leaf)
    return tree


def parse_value(text: str) -> Any:
    """Read `text` as a TOML value (number, boolean, list, quoted text, inline table), else as plain text."""
    try:
        value = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    plain = set(value) == {"value"} and isinstance(value["value"], bool | int | float | str | list | dict)
    return value["value"] if plain else text


def _values(tree: Tree) -> dict[str, Any]:
    return {key: _values(value) if isinstance(value, dict) else value.value for key, value in tree.items()}


def _origins(tree: Tree, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _origins(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value.where


def _keys(config: BaseModel, prefix: str = "") -> Iterator[str]:
    """Dotted names of the settings of `config`, inner tables included."""
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _under(key: str, origins: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What was written as `key`, or within it where it is a table: full key and place."""
    return ((name, where) for name, where in origins.items() if name == key or name.startswith(f"{key}."))


def _place(key: str, origins: dict[str, str], path: str | Path) -> str:
    """Name a key with the file and line where it was written; a missing key, with those of the table that lacks it."""
    near = key
    while near and not any(_under(near, origins)):
        near = near.rpartition(".")[0]
    return f"{next((where for _, where in _under(near, origins)), path)}, {key}"


def _explain(error: ValidationError, values: dict[str, Any], origins: dict[str, str], path: str | Path) -> RecipeError:
    """Turn pydantic's account into one RecipeError: the first problem as such, the others listed after it."""
    problems = []
    for problem in error.errors():
        *table, name = [str(part) for part in problem["loc"]]
        key, hint = ".".join([*table, name]), ""
        if problem["type"] == "extra_forbidden":
            known = _known(table, values)
            near = difflib.get_close_matches(name, known, n=1)
            what, hint = f'unknown key "{name}"', f'did you mean "{near[0]}"? ' if near else ""
            fix = f"{hint}known here: {', '.join(known)}"
        elif problem["type"] == "missing":
            what, fix = f'missing key "{name}"', f"set {key}"
        else:
            what = f"{key} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
            fix = f"change {key}"
        problems.append((what, _place(key, origins, path), fix))
    what, where, fix = problems[0]
    others = "".join(f"\n  also:  {w} ({at})" for w, at, _ in problems[1:])
    return RecipeError(what, where=where, fix=fix + others)


def _known(table: list[str], values: Any) -> list[str]:
    """Names of the settings that the table at this path takes."""
    config: Any = Recipe
    for name in table:
        values = values.get(name, {}) if isinstance(values, dict) else {}
        if name in KINDS and "kind" in values:
            config = resolve(name, values["kind"]).Config
            continue
        field = config.model_fields.get(name) if config else None
        candidates = [field.annotation, *get_args(field.annotation)] if field else []
        config = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(config.model_fields) if config else []


def dump_recipe(recipe: BaseModel, provenance: Provenance | None = None) -> str:
    """Write a recipe as TOML that `load_recipe` reads back equal, each value followed by where it came from."""
    return "\n".join(_dump(recipe, provenance or {}, "")).strip() + "\n"


def _dump(config: BaseModel, provenance: Provenance, prefix: str) -> Iterator[str]:
    tables = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            tables.append((name, value))
            continue
        where = provenance.get(f"{prefix}{name}")
        comment = f"  # {where}" if where else ""
        # TOML has no null: a default of None is shown as a comment, None put for another default as "none".
        silent = value is None and field.default is None
        yield f"# {name}: not set{comment}" if silent else f"{_key(name)} = {_toml(value)}{comment}"
    for name, value in tables:
        yield from ("", f"[{prefix}{_key(name)}]")
        yield from _dump(value, provenance, f"{prefix}{name}.")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):  # a JSON string is a TOML string, but for DEL
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{_key(str(key))} = {_toml(item)}' for key, item in value.items() if item is not None)}}}"
        )
    raise TypeError(f"a recipe cannot hold a {type(value).__name__}")

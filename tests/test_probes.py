"""No floor above the models asks what it holds: the few places that must are listed here, each with its reason."""

import ast
from collections import Counter
from pathlib import Path

import clew

HOME = Path(clew.__file__).parent
ROOMS = ("tasks", "train", "hub", "runs", "study", "web", "cli", "inspect")

# "file:probe" → how often, and why no contract can say it.
# hasattr, getattr with a default, inspect.signature, except AttributeError
PROBES: dict[str, tuple[int, str]] = {
    "hub/transformers_folder.py:AttributeError": (1, "a file that others wrote may hold anything"),
    "study/plan.py:AttributeError": (1, "a file that others wrote may hold anything"),
    "train/memory.py:getattr": (1, "whether the C library has mallopt"),
    "web/folder.py:AttributeError": (1, "a run that others wrote may hold anything"),
}
# isinstance, and comparisons of a kind
TYPES: dict[str, tuple[int, str]] = {
    "hub/transformers_folder.py:isinstance": (1, "a file that others wrote may hold anything"),
    "inspect/walks/__init__.py:kind": (1, "which walk was asked for"),
    "runs/results.py:isinstance": (9, "JSON may hold anything"),
    "runs/start.py:kind": (1, "which embeddings of a recipe begin with vectors; only words have them"),
    "tasks/answer.py:isinstance": (2, "answers as users write them"),
    "tasks/embed.py:kind": (1, "only words have vectors"),
    "tasks/supervised.py:isinstance": (2, "columns as users give them"),
    "tasks/tag.py:isinstance": (1, "columns as users give them"),
    "train/tuning.py:isinstance": (1, "LoRA is of torch's linear layers"),
    "web/notebook.py:kind": (1, "which walks were asked for"),
}
MOST_PROBES, MOST_TYPES = 5, 20


def probe(node: ast.AST) -> tuple[str, str] | None:
    """Return which list a piece of code belongs to, and what it is; None for all else."""
    match node:
        case ast.Call(func=ast.Name(id="hasattr")):
            return "probe", "hasattr"
        case ast.Call(func=ast.Name(id="getattr"), args=[_, _, _]):
            return "probe", "getattr"
        case ast.Call(func=ast.Attribute(attr="signature", value=ast.Name(id="inspect"))):
            return "probe", "signature"
        case ast.ExceptHandler(type=kind) if kind is not None and "AttributeError" in ast.unparse(kind):
            return "probe", "AttributeError"
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass")):
            return "type", "isinstance"
        case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn()], comparators=[right]):
            if any(each == "kind" or each.endswith(".kind") for each in (ast.unparse(left), ast.unparse(right))):
                return "type", "kind"
    return None


def found() -> dict[str, Counter[str]]:
    out = {"probe": Counter[str](), "type": Counter[str]()}
    for room in ROOMS:
        for file in sorted((HOME / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if seen := probe(node):
                    out[seen[0]][f"{file.relative_to(HOME).as_posix()}:{seen[1]}"] += 1
    return out


def test_only_what_is_listed_is_asked() -> None:
    seen = found()
    assert dict(seen["probe"]) == {where: n for where, (n, _) in PROBES.items()}
    assert dict(seen["type"]) == {where: n for where, (n, _) in TYPES.items()}


def test_the_lists_stay_short() -> None:
    assert sum(n for n, _ in PROBES.values()) <= MOST_PROBES
    assert sum(n for n, _ in TYPES.values()) <= MOST_TYPES
    assert all(reason for _, reason in (*PROBES.values(), *TYPES.values()))


def test_probes_are_seen() -> None:
    code = """
hasattr(x, "y"); getattr(x, "y", None); inspect.signature(f); isinstance(x, int)
if recipe.task.kind == "tag" or kind in ("a", "b"): pass
try: pass
except (KeyError, AttributeError): pass
getattr(x, "y")
"""
    seen = Counter(where for node in ast.walk(ast.parse(code)) if (where := probe(node)))
    assert seen == {
        ("probe", "hasattr"): 1, ("probe", "getattr"): 1, ("probe", "signature"): 1, ("probe", "AttributeError"): 1,
        ("type", "isinstance"): 1, ("type", "kind"): 2,
    }  # fmt: skip

"""The house has floors: each imports only lower ones, and the rooms of one floor do not import each other."""

import ast
import importlib
from pathlib import Path

import pytest

import clew
from clew.config import KINDS

HOME = Path(clew.__file__).parent

# The rule, once. A room is a folder or a file directly under src/clew; the number is its floor.
FLOORS = {
    "config": 0, "errors": 0, "inputs": 0, "batches": 0, "contracts": 0,
    "recipe_file": 0, "recipe_reference": 0, "presets": 0, "__init__": 0,
    "tensor_file": 0, "compiled": 0,
    "nn": 1, "kernels": 1, "text": 1,
    "models": 2, "data": 2,
    "objectives": 3, "decode": 3, "metrics": 3,
    "tasks": 4, "inspect": 4,
    "train": 5, "hub": 5,
    "runs": 6, "page": 6,
    "study": 7, "web": 7,
    "cli": 8, "__main__": 9,
}  # fmt: skip

# Within models/, a variant imports the file of the paper that it varies, and all what models of their kind share: the
# shapes of a translator and of a classifier, word vectors in hand.
PARENTS: dict[str, set[str]] = {
    "encoder_translator": {"transformer"}, "t5": {"transformer"}, "heads": {"bert"}, "llama": {"gpt2"},
    "lstm": {"gpt2"}, "roberta": {"bert"}, "fasttext": {"linear"},
}  # fmt: skip
SHARED_BY_MODELS = {"translator", "heads", "vectors", "layout"}

# Python files that stand on floor 0 together may import each other: they are one room.
GROUND = 0


def modules() -> list[Path]:
    return sorted(HOME.rglob("*.py"))


def names(path: Path) -> list[str]:
    """The dotted name of a file, as parts without "clew"."""
    parts = list(path.relative_to(HOME).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def imports(path: Path) -> list[tuple[int, list[str]]]:
    """Every import of clew in a file, inside functions too: line, and the parts of the name after "clew"."""
    found = []
    package = ["clew", *path.relative_to(HOME).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = []
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            targets = [[*base, alias.name] for alias in node.names]
        found += [(node.lineno, target[1:] or ["__init__"]) for target in targets if target[0] == "clew"]
    return found


def room(parts: list[str]) -> str:
    """The room of a name; `from clew import __version__` names the package itself."""
    return parts[0] if parts[0] in FLOORS or (HOME / parts[0]).exists() else "__init__"


def violations(path: Path) -> list[str]:
    here = names(path)
    mine, wrong = room(here), []
    for line, target in imports(path):
        theirs = room(target)
        at = f"{path.relative_to(HOME)}:{line}: {'.'.join(here)} imports {'.'.join(target)}"
        if theirs == mine == "models" and len(here) > 1:
            allowed = {here[1]} | PARENTS.get(here[1], set()) | SHARED_BY_MODELS
            if target[1] not in allowed:
                wrong.append(f"{at}: a model imports its parent paper's file only (see PARENTS)")
        elif theirs != mine and FLOORS[theirs] >= FLOORS[mine] != GROUND:
            wrong.append(f"{at}: floor {FLOORS[mine]} must not import floor {FLOORS[theirs]}")
        elif FLOORS[theirs] > FLOORS[mine]:
            wrong.append(f"{at}: the ground floor imports nothing above it")
    return wrong


def test_every_room_has_a_floor() -> None:
    assert {room(names(path)) for path in modules()} <= set(FLOORS)


def test_floors_import_only_lower_floors() -> None:
    wrong = [line for path in modules() for line in violations(path)]
    assert not wrong, "\n".join(wrong)


def test_text_needs_no_torch() -> None:
    for path in sorted((HOME / "text").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in found if name.split(".")[0] == "torch"], f"{path.name}:{node.lineno}"


@pytest.mark.parametrize(("file", "line"), [
    ("nn/x.py", "from clew.models.transformer import Transformer"),
    ("nn/x.py", "import clew.data.rows"),
    ("nn/x.py", "from clew.data.batches import PairBatch"),
    ("inspect/x.py", "from clew.tasks.translate import Translate"),
    ("tasks/x.py", "from clew.inspect.heads import entropy"),
    ("models/x.py", "from clew.data.rows import Rows"),
    ("data/x.py", "from clew.models import transformer"),
    ("models/seq2seq.py", "from clew.models.transformer import Transformer"),
    ("models/x.py", "from . import transformer"),
    ("runs/x.py", "from clew.page.single_file import single_file"),
    ("train/x.py", "def f():\n    from clew.cli import app"),
    ("errors.py", "from clew import cli"),
    ("config.py", "from clew.nn import taps"),
])  # fmt: skip
def test_a_wrong_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, line: str) -> None:
    for name in FLOORS:
        (tmp_path / name).mkdir()
    monkeypatch.setitem(globals(), "HOME", tmp_path)
    path = tmp_path / file
    path.write_text(line)
    assert violations(path)


@pytest.mark.parametrize(("section", "kind"), [(section, kind) for section in KINDS for kind in KINDS[section]])
def test_every_kind_resolves(section: str, kind: str) -> None:
    module, _, name = KINDS[section][kind].partition(":")
    made = getattr(importlib.import_module(module), name)
    assert made.Config.model_fields["kind"].default == kind

"""The chapters: their Python runs and its assertions hold, their commands exist, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from clew import cli
from clew.cli.compare import parse_vary
from clew.config import build
from clew.recipe_file import load_recipe
from clew.study.plan import make_plan, parse_budget

HOME = Path(__file__).parents[2]
PAGES = [HOME / "README.md", HOME / "CONTRIBUTING.md", *sorted((HOME / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALLER = {"20_000": "1_000", "1_000_000": "1_000"}  # a page's sizes → what shows in a second that its code runs


def blocks(page: Path) -> list[tuple[int, str, str]]:
    """Line, language and text of every fenced block."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in BLOCK.finditer(text)]


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `clew …`, in fenced blocks and in lines of text; pipes and comments cut off."""
    fenced = [line for _, language, text in blocks(page) if language != "python" for line in text.splitlines()]
    inline = re.findall(r"`(clew [^`]*)`", BLOCK.sub("", page.read_text(encoding="utf-8")))
    lines = [line for line in fenced if line.startswith("clew ")] + inline
    found = [shlex.split(re.split(r" [|>] ", line)[0], comments=True)[1:] for line in lines]
    return [arguments for arguments in found if not arguments[0].startswith("-")]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in page.read_text("utf-8")], ids=lambda p: p.stem
)
def test_python_runs(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    namespace: dict[str, object] = {"__name__": page.stem}
    for line, language, text in blocks(page):
        if language == "python":
            for size, smaller in SMALLER.items():
                text = text.replace(size, smaller)
            exec(compile("\n" * (line - 1) + text, page, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_commands_exist(page: Path) -> None:
    """Each is parsed by the command itself; the recipes that it names are read with its settings."""
    for name, *arguments in commands(page):
        assert name in cli.COMMANDS, f"clew {name}"
        if not arguments:
            continue  # the text speaks of the command
        context = cli.load(name).make_context(name, list(arguments))
        given = context.params.get("arguments") or [
            context.params.get("file"),
            *(context.params.get("overrides") or []),
        ]
        recipes = [HOME / str(each) for each in given if str(each).endswith(".toml")]
        settings = [str(each) for each in given if "=" in str(each)]
        read = [load_recipe(recipe, settings)[0] for recipe in recipes]
        for recipe in read:
            build("data", recipe.data)  # settings that contradict one another are told here; nothing is read yet
        if varied := dict(parse_vary(text) for text in context.params.get("vary") or []):
            make_plan(read, varied, 1, Path("unused"), budget=parse_budget("1m"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target

"""What benchmarks take of clew exists: they themselves run for hours, and beside peers that are not installed here."""

import ast
import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1] / "benchmarks"
FILES = sorted(HERE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(HERE)) for f in FILES])
def test_what_a_benchmark_imports_exists(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "clew":
            for name in node.names:
                if not hasattr(importlib.import_module(str(node.module)), name.name):
                    importlib.import_module(f"{node.module}.{name.name}")


def test_there_are_benchmarks() -> None:
    assert len(FILES) > 10

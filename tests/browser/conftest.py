"""One browser for all tests of this folder; the page of `clew look` over small runs of four families."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clew.page.single_file import LOOK

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
sys.path += [str(Path(__file__).parents[1] / "web"), str(Path(__file__).parent)]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser` (playwright)")
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH")
    with api.sync_playwright() as playwright:
        # The sandbox needs rights that a container's root lacks; the page is ours and offline.
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        yield found
        found.close()


@pytest.fixture(scope="session")
def small_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of tests/web: lstm, transformer, bert, words."""
    from small_runs import train_runs

    return train_runs(tmp_path_factory.mktemp("look"))


@pytest.fixture(scope="session")
def word_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of tests/web: words and words2, cbow, glove, film."""
    from small_runs import train_word_runs

    return train_word_runs(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def reading_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of tests/web that read texts: pairs, alike, choices, answers, tags, names."""
    from small_runs import train_reading_runs

    return train_reading_runs(tmp_path_factory.mktemp("reading"))


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], str]]:
    """Put the page over a folder of runs on a port: its address, with the token."""
    from small_runs import serving

    if not (LOOK / "index.html").is_file():
        pytest.skip("the front-end is not built here: python web/build.py")
    with serving() as start:
        yield start


@pytest.fixture(scope="session")
def address(serve: Callable[[Path], str], small_runs: Path) -> str:
    return serve(small_runs)


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    from tabs import Tab

    tab = Tab(browser, address)
    yield tab
    tab.close()

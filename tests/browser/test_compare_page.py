"""The comparison page in a real browser: no error, no request, everything reachable from the keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clew.page import single_file as page

pytestmark = pytest.mark.browser
FIXTURE = Path(__file__).parents[2] / "web" / "fixtures" / "compare.json"


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return json.loads(FIXTURE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> str:
    if not (page.STATIC / "clew.js").is_file():
        pytest.skip("the front-end is not built here: python web/build.py")
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.single_file("compare", data), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: None if request.url == address else wrong.append(f"request: {request.url[:80]}"))
    tab.goto(address)
    tab.get_by_role("heading", level=1).wait_for()
    yield tab
    tab.close()
    assert not [line for line in wrong if not line.startswith("request: data:")]


def test_every_part_is_there(tab: Any, data: dict[str, Any]) -> None:
    text = tab.locator("main").inner_text()
    for sentence in data["summary"]:
        assert sentence in text
    assert "not reached" in text and "failed: loss became NaN" in text and "no attention to show" in text
    assert tab.locator("#results tbody tr").first.is_visible()
    drawn = [model for model in data["models"] if model["curves"]]
    assert tab.locator("#curves .plot g").count() == len(drawn)
    assert tab.locator("#sentences figure").count() == len([model for model in drawn if model["id"] != "none"])


def test_the_table_sorts_by_keyboard(tab: Any) -> None:
    button = tab.locator("#results .sort", has_text="Perplexity")
    button.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#results th[aria-sort=ascending]").inner_text().startswith("Perplexity")
    first = [tab.locator("#results .frame tbody th").nth(row).inner_text().split("\n")[0].strip() for row in (0, -1)]
    assert first == ["Transformer 3+3", "LSTM + dot"]  # the failed one stays last
    tab.keyboard.press("Enter")
    assert tab.locator("#results .frame tbody th").first.inner_text().strip().startswith("LSTM, no attention")


def test_curves_change_and_speak_by_keyboard(tab: Any) -> None:
    before = tab.locator("#curves .plot svg").inner_html()
    tab.locator("#curves input").first.focus()
    tab.keyboard.press("ArrowRight")
    assert tab.get_by_role("radio", name="Validation loss").is_checked()
    assert tab.locator("#curves .plot svg").inner_html() != before
    plot = tab.locator("#curves [role=slider]")
    plot.focus()
    tab.keyboard.press("End")
    assert "LSTM + additive" in plot.get_attribute("aria-valuetext")
    assert tab.locator("#curves .tip").is_visible()
    tab.keyboard.press("Escape")
    assert not tab.locator("#curves .tip").is_visible()


def test_attention_is_read_by_keyboard_as_matrix_and_as_arcs(tab: Any, data: dict[str, Any]) -> None:
    for form in ("Matrix", "Arcs"):
        tab.get_by_label(form).check()
        figure = tab.locator("#sentences figure [role=slider]").first
        figure.focus()
        tab.keyboard.press("ArrowDown")
        output = data["sentences"][0]["outputs"]["additive"]
        most = output["source_tokens"][output["salient"][0]].removeprefix("▁")
        assert figure.get_attribute("aria-valuetext").startswith(f"the ← {most} ")
    tab.get_by_label("Next sentence").focus()
    tab.keyboard.press("Enter")
    assert data["sentences"][1]["source"] in tab.locator("#sentences dl").inner_text()


def test_differences_from_the_reference_are_marked(tab: Any) -> None:
    row = tab.locator("#sentences dl > div", has_text="LSTM + scaled dot")
    assert "red" in row.locator("ins").inner_text() and "green" in row.locator("del").inner_text()


def test_it_fits_a_phone_and_paper_shows_every_sentence(browser: Any, address: str, data: dict[str, Any]) -> None:
    tab = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
    tab.goto(address)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("#sentences .sheet").count() == len(data["sentences"])
    tab.emulate_media(media="print")
    assert not tab.locator("nav").is_visible() and not tab.locator(".controls").first.is_visible()
    assert tab.evaluate("getComputedStyle(document.body).colorScheme || 'light'") != "dark"
    tab.close()

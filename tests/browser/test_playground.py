"""The playground over tasks that read texts in parts: a field for each, and what is seen of the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from tabs import AXE, Tab

pytestmark = pytest.mark.browser
TASKS = {
    "pairs": ["Premise", "Hypothesis"], "alike": ["Sentence 1", "Sentence 2"], "answers": ["Question", "Context"],
    "choices": ["Question", "Choice A", "Choice B", "Choice C"], "tags": ["A sentence."], "names": ["A sentence."],
}  # fmt: skip


@pytest.fixture(scope="module")
def address(serve: Callable[[Path], str], reading_runs: Path) -> str:
    return serve(reading_runs)


def play(tab: Tab, *runs: str, page: str = "play", **chosen: str) -> Any:
    tab.page.goto(f"{tab.base}#/{page}?{urlencode([*(('run', run) for run in runs), *chosen.items()])}")
    tab.page.reload()
    tab.page.locator("form :is(textarea, input)").first.wait_for()
    return tab.page


def run(page: Any, n: int = 1) -> Any:
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function(f"() => document.querySelectorAll('.answers .panel p').length >= {n}")
    page.wait_for_function("() => document.querySelector('.answers').ariaBusy === 'false'")
    assert page.locator(".answers [role=alert]").count() == 0
    return page.locator(".answers .panel")


@pytest.mark.parametrize("name", TASKS)
def test_each_part_has_a_field_and_the_run_s_own_text_is_there(tab: Tab, name: str) -> None:
    page = play(tab, name)
    page.wait_for_function("() => [...document.querySelectorAll('textarea')].every((field) => field.value)")
    assert page.locator("textarea").count() == len(TASKS[name])
    for label in TASKS[name]:
        assert page.get_by_label(label, exact=True).input_value()
    panels = run(page)
    assert "in the data" in panels.first.inner_text()


def test_two_texts_are_typed_and_edited_and_asked_again_of_two_runs(tab: Tab) -> None:
    page = play(tab, "pairs", "alike")
    page.get_by_label("Premise").fill("two cats\tsleep\nhere")
    page.get_by_label("Hypothesis").fill("")
    assert page.get_by_role("button", name="Run", exact=True).is_disabled()
    page.get_by_label("Hypothesis").fill("two cats sleep")
    page.get_by_label("Hypothesis").press("Enter")
    page.locator(".answers .best").nth(1).wait_for()
    assert parse_qs(page.url.partition("?")[2])["text"] == ["two cats sleep here\ttwo cats sleep"]
    bars = page.locator(".answers .panel").first.locator("tbody tr")
    assert {bars.nth(k).locator("th").inner_text() for k in range(bars.count())} == {"yes", "no"}
    assert sum(float(bars.nth(k).locator("td").inner_text()) for k in range(2)) == pytest.approx(1, abs=0.002)
    assert "score" in page.locator(".answers .panel").nth(1).inner_text()
    before = page.locator(".answers").inner_text()
    page.get_by_label("Hypothesis").fill("many dogs, one cat and three cats sleep sleep sleep")
    run(page)
    page.wait_for_function("(before) => document.querySelector('.answers').innerText !== before", arg=before)
    page.reload()  # the address holds both
    page.locator(".answers .best").first.wait_for()
    assert page.get_by_label("Hypothesis").input_value().startswith("many dogs")


def test_choices_have_their_own_fields_and_are_named_in_the_answer(tab: Tab) -> None:
    page = play(tab, "choices")
    for label, text in zip(TASKS["choices"], ("which is two ?", "one", "two", "a dozen"), strict=True):
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_label("Choice C").press("Enter")
    rows = page.locator(".answers tbody th")
    rows.nth(2).wait_for()
    assert {rows.nth(k).inner_text() for k in range(3)} == {"A: one", "B: two", "C: a dozen"}


def test_an_answer_is_marked_where_it_stands(tab: Tab) -> None:
    page = play(tab, "answers", text="how many cats ?\t😀 there are two cats here")
    page.locator("mark").wait_for()
    assert page.locator(".passage").inner_text() == "😀 there are two cats here"
    assert page.locator("mark").inner_text() == page.locator(".best").inner_text()
    page.locator("button.show").nth(2).click()
    assert page.locator("mark").inner_text() == page.locator("button.show").nth(2).inner_text()


def test_a_saved_page_shows_the_answer_in_its_passage(tab: Tab, browser: Any, tmp_path: Path) -> None:
    page = play(tab, "answers", text="how many cats ?\tthere are two cats here")
    page.locator("mark").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this page as one file").click()
    download.value.save_as(tmp_path / "saved.html")
    alone = browser.new_page()
    alone.goto((tmp_path / "saved.html").as_uri())
    alone.locator("mark").wait_for()
    assert alone.locator("mark").inner_text() == page.locator("mark").inner_text()
    assert "how many cats ? · there are" in alone.locator("header").inner_text()
    assert not alone.locator("textarea").first.is_visible() and alone.locator(".problem").count() == 0
    alone.close()


def test_tags_stand_under_their_words_with_a_table_behind(tab: Tab) -> None:
    page = play(tab, "tags", "names", text="in New York two sleep")
    page.locator(".line").nth(1).wait_for()
    assert page.locator(".line").first.locator(".word").count() == 5
    page.get_by_text("The same as a table").first.click()
    assert page.locator(".answers .panel").first.locator("tbody tr").count() == 5


def test_what_reads_something_else_says_so(tab: Tab) -> None:
    page = play(tab, "pairs", "choices")
    page.get_by_label("Premise").fill("two cats")
    page.get_by_label("Hypothesis").fill("a cat")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("this run reads something else: question, choice A").wait_for()
    assert page.locator(".best").count() == 1


def test_a_run_of_another_shape_brings_its_own_text(tab: Tab) -> None:
    page = play(tab, "tags", text="two cats sleep")
    page.locator(".line").wait_for()
    page.locator(".ask select").first.select_option("answers")
    page.get_by_label("Context").wait_for()
    page.wait_for_function("() => [...document.querySelectorAll('textarea')].every((field) => field.value)")


@pytest.mark.parametrize("name", TASKS)
def test_attention_and_the_walk_take_the_same_fields(tab: Tab, name: str) -> None:
    page = play(tab, name, page="attention")
    page.locator(".heads canvas").first.wait_for()
    assert page.locator(".problem").count() == 0
    page = play(tab, name, page="walk")
    page.locator("math").first.wait_for()
    assert page.locator(".problem").count() == 0


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 390)])
@pytest.mark.parametrize("name", TASKS)
def test_axe_finds_nothing_and_a_phone_has_room(browser: Any, address: str, name: str, scheme: str, width: int) -> None:
    tab = Tab(browser, address, color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=AXE.is_file())
    page = play(tab, name)
    page.wait_for_function("() => [...document.querySelectorAll('textarea')].every((field) => field.value)")
    run(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if AXE.is_file():
        page.add_script_tag(path=str(AXE))
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found["violations"]] == []
    tab.close()

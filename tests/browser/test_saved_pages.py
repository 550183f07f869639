"""What `clew look` saved, opened alone: a page as one file, the views of a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tabs import AXE, Tab

pytestmark = pytest.mark.browser


class Alone:
    """A file in the browser that may ask nobody for anything."""

    def __init__(self, browser: Any, file: Path, **settings: Any) -> None:
        self.page, self.wrong = browser.new_page(**settings), list[str]()
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on(
            "request",
            lambda request: (
                None if request.url.startswith((file.as_uri(), "data:", "blob:")) else self.wrong.append(request.url)
            ),
        )
        self.page.goto(file.as_uri())

    def close(self) -> None:
        self.page.close()
        assert [line for line in self.wrong if "GPU stall" not in line] == []


# What is seen of a page that was saved, and what stands in it.
SAVED = {
    "runs": ("tbody tr", "transformer"), "curves": (".plot canvas", "Smoothing"),
    "bert": (".heads canvas", "layers.1.attention, head 1"), "walk": ("math", "Equals the engine"),
    "time": ("svg .node.on", "autograd"), "play": (".node.winner", "How the beam went"),
    "write": (".text .token:not(:empty)", "12 tokens in"), "project": ("#near-title", "Nearest to cat"),
    "compare": (".side canvas", "What was asked of them"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_page_works_alone(tab: Tab, browser: Any, small_runs: Path, tmp_path: Path, name: str) -> None:
    page, (seen, said) = tab.open(name), SAVED[name]
    page.locator(seen).first.wait_for()
    page.get_by_text(said).first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this page as one file").click()
    file = tmp_path / "saved.html"
    download.value.save_as(file)
    assert str(small_runs) not in file.read_text(encoding="utf-8")  # where a run lies is nobody else's business
    alone = Alone(browser, file)
    alone.page.locator(seen).first.wait_for()
    alone.page.get_by_text(said).first.wait_for()
    assert alone.page.locator(".problem").count() == 0
    alone.close()


def test_a_saved_page_of_attention_has_every_head(tab: Tab, browser: Any, tmp_path: Path) -> None:
    page = tab.open("bert")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this page as one file").click()
    file = tmp_path / "saved.html"
    download.value.save_as(file)
    alone = Alone(browser, file, viewport={"width": 390, "height": 800}, bypass_csp=AXE.is_file())
    alone.page.locator(".head").nth(2).click()
    alone.page.get_by_role("heading", name="layers.1.attention, head 0").wait_for()
    assert alone.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "default-src 'none'" in alone.page.locator("meta[http-equiv]").get_attribute("content")
    if AXE.is_file():
        alone.page.add_script_tag(path=str(AXE))
        found = alone.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert [each["id"] for each in found["violations"]] == []
    alone.close()


@pytest.mark.parametrize("opened", [False, True])
def test_a_saved_comparison_has_its_map_of_layers(tab: Tab, browser: Any, tmp_path: Path, opened: bool) -> None:
    page = tab.open("compare")
    if opened:
        page.get_by_role("button", name="Compare layers").click()
        page.locator(".cka td").nth(1).wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this page as one file").click()
    download.value.save_as(tmp_path / "saved.html")
    alone = Alone(browser, tmp_path / "saved.html")
    alone.page.locator(".cka tbody td").first.wait_for()
    assert alone.page.locator(".cka").inner_text() == page.locator(".cka").inner_text()  # as it stands on the page
    alone.close()


def test_a_saved_comparison_of_what_has_no_layers_does_not_offer_a_map(tab: Tab, browser: Any, tmp_path: Path) -> None:
    page = tab.page
    page.goto(tab.base + "#/compare?run=words&run=lstm")
    page.reload()
    page.locator("#layers-title").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this page as one file").click()
    tab.wrong.clear()  # the browser's own word on the refusal, which the page shows
    page.locator(".problem").wait_for()
    download.value.save_as(tmp_path / "saved.html")
    alone = Alone(browser, tmp_path / "saved.html")
    alone.page.locator("#recipe-title").wait_for()
    assert alone.page.locator("#layers-title, .problem").count() == 0
    alone.close()


def test_views_of_a_notebook_open_in_a_frame_without_an_origin(browser: Any, small_runs: Path, tmp_path: Path) -> None:
    import clew

    pair = clew.look(small_runs / "transformer", small_runs / "lstm")
    views = {
        ".heads canvas": pair.attention("the cat sleeps ."), ".plot canvas": pair.curves(y="train loss"),
        ".node.winner": pair.play("the cat sleeps ."), "math": pair.walk("the cat sleeps ."),
        ".side canvas": pair.compare("the cat sleeps ."), ".text": clew.look(small_runs / "gpt").play("the cat"),
        ".cloud": clew.look(small_runs / "words").project(),
    }  # fmt: skip
    for seen, view in views.items():
        file = tmp_path / "notebook.html"
        file.write_text(f"<!doctype html><meta charset=utf-8><title>n</title>{view._repr_html_()}", encoding="utf-8")
        alone = Alone(browser, file)
        frame = alone.page.frame_locator("iframe")
        frame.locator(seen).first.wait_for()
        assert seen != ".side canvas" or frame.locator(".cka tbody td").count() > 0
        assert frame.locator(".problem").count() == 0
        alone.close()

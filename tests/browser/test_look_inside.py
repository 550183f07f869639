"""Walk-through and projector in a real browser, over word vectors, a classifier that attends and a translator."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from tabs import AXE, Tab

from clew.inspect.points import Points
from clew.inspect.projector import PROJECT, Projection, pca

pytestmark = pytest.mark.browser
WALKS = {
    "cbow": "run=cbow&text=the+cat+sat+on&at=1&step=2",
    "glove": "run=glove&text=cat+mat+3&step=5",
    "pooling": "run=film&text=the+film+is+good&walk=pooling%3A&step=4",
    "unrolled": "run=film&text=the+film+is+good&walk=bptt%3Aencoder.layer&of=W_h&path=3%2C2",
}
PROJECTOR = "#/project?run=words&run=words2&find=cat&colour=count"


@pytest.fixture(scope="module")
def address(serve: Callable[[Path], str], word_runs: Path) -> str:
    return serve(word_runs)


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Tab]:
    tab = Tab(browser, address)
    tab.page.set_default_timeout(120_000)
    yield tab
    tab.close()


def go(tab: Tab, where: str, ready: str) -> Any:
    tab.page.goto(tab.base + where)
    tab.page.reload()
    tab.page.locator(ready).first.wait_for(timeout=120_000)
    return tab.page


def chooser(page: Any, label: str) -> Any:
    return page.locator("label.field", has_text=re.compile(f"^{label}")).locator("select")


def look_for_faults(tab: Tab) -> list[str]:
    """What axe finds."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed here: python web/build.py --force")
    tab.page.wait_for_timeout(300)
    tab.page.add_script_tag(path=str(AXE))
    found = tab.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes'][:3]]}" for each in found["violations"]]


@pytest.mark.parametrize("name", WALKS)
def test_walks_say_that_they_equal_the_engine(tab: Tab, name: str) -> None:
    page = go(tab, f"#/walk?{WALKS[name]}", "math")
    said = page.get_by_text("quals the engine" if name != "unrolled" else "equals autograd’s").first.inner_text()
    power = re.search(r"to \d+e−(\d+)", said)
    assert "exactly" in said or (power is not None and int(power[1]) >= 6)
    assert page.locator(".katex-error, .problem").count() == 0


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 390)])
@pytest.mark.parametrize("name", ["pooling", "unrolled", "projector"])
def test_axe_finds_nothing_and_it_fits(browser: Any, address: str, name: str, scheme: str, width: int) -> None:
    tab = Tab(browser, address, color_scheme=scheme, bypass_csp=True, viewport={"width": width, "height": 900})
    where, ready = (PROJECTOR, "#near-title") if name == "projector" else (f"#/walk?{WALKS[name]}", "math")
    page = go(tab, where, ready)
    if name == "projector":
        page.get_by_role("button", name="Its checkpoints").click()
        page.get_by_label("Checkpoint").wait_for()
    assert look_for_faults(tab) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tab.close()


def test_a_trained_layer_is_followed_by_keyboard(tab: Tab) -> None:
    page = go(tab, f"#/walk?{WALKS['unrolled']}", "svg .node.on")
    assert page.locator("svg .node.on").count() == 8  # G₃ h₃ c₃ a₃ h₂ c₂ a₂ and W_h
    page.get_by_role("button", name="G₁ → W_h at 1").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('svg .node.on').length === 5")
    page.get_by_label("Parameter").select_option("b_i")
    page.get_by_text("The sum of its 10 paths equals autograd’s").wait_for()
    chooser(page, "Layer").select_option("1")
    page.get_by_text("reading backward").wait_for()
    page.get_by_label("Text, up to 16 tokens").fill("film good")
    page.get_by_label("Text, up to 16 tokens").press("Enter")
    page.get_by_text("The sum of its 3 paths equals autograd’s").wait_for()
    assert "layer=1" in page.url and "text=film+good" in page.url


def test_what_is_typed_wrong_is_said(tab: Tab) -> None:
    page = go(tab, "#/walk?run=glove&text=cat+mat", "[role=alert]")
    assert "count" in page.locator("[role=alert]").inner_text()
    page.get_by_label("Word, context word").fill("cat mat 3")
    page.get_by_role("button", name="Walk", exact=True).click()
    page.locator("math").first.wait_for()
    assert page.locator("[role=alert]").count() == 0
    tab.wrong = [line for line in tab.wrong if "status of 422" not in line]  # the browser's own note of the answer


def test_checkpoints_are_on_a_slider_and_movers_in_a_table(tab: Tab) -> None:
    page = go(tab, PROJECTOR, "[aria-labelledby=near-title] tbody tr")
    page.get_by_role("button", name="Its checkpoints").click()
    slider = page.get_by_label("Checkpoint")
    slider.wait_for()
    assert slider.get_attribute("aria-valuetext") == "its end"
    slider.focus()
    with page.expect_response(re.compile("/frames/3")):
        page.keyboard.press("ArrowLeft")
    page.get_by_text("Checkpoint: step").wait_for()
    page.get_by_role("button", name="What moved most in words2").click()
    page.locator("[aria-labelledby=moved-title] tbody tr").nth(5).wait_for()
    page.get_by_role("button", name="What moved most since step").click()
    page.get_by_role("heading", name=re.compile("What moved most from step .* to the end")).wait_for()


def test_what_takes_long_says_how_far_it_is_and_is_stopped(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    going = Event()

    def slow(points: Points, dims: int, *, progress: Callable[[float], None], **_: Any) -> Projection:
        for _ in range(200):
            progress(0.42)
            if going.wait(0.1):
                break
        return pca(points, dims)

    monkeypatch.setitem(PROJECT, "tsne", slow)
    page = go(tab, "#/project?run=words&method=tsne&most=100", ".page progress")
    page.get_by_text("t-SNE: 42%").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    assert page.locator("progress, .problem").count() == 0
    going.set()
    page.get_by_role("button", name="Project again").click()
    page.locator(".cloud canvas").first.wait_for()
    page.get_by_text("trustworthiness 0.").wait_for()
    assert page.get_by_text("Stopped.").count() == 0


def test_points_are_taken_to_other_tools(tab: Tab, tmp_path: Path) -> None:
    page = go(tab, PROJECTOR, "[aria-labelledby=near-title] tbody tr")
    with page.expect_download() as download:
        page.get_by_role("button", name="TSV").click()
    download.value.save_as(tmp_path / "points.zip")
    archive = zipfile.ZipFile(tmp_path / "points.zip")
    assert {*archive.namelist()} == {"vectors.tsv", "metadata.tsv"}
    n = len(archive.read("vectors.tsv").splitlines())
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG").click()
    download.value.save_as(tmp_path / "points.svg")
    drawn = ElementTree.fromstring((tmp_path / "points.svg").read_text())
    dots = sum(path.get("d", "").count("M") for path in drawn.iter("{http://www.w3.org/2000/svg}path"))
    assert 0.9 * n <= dots <= n  # those far out lie beyond the frame
    assert "cat" in [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    download.value.save_as(tmp_path / "points.png")
    picture = np.asarray(Image.open(tmp_path / "points.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(picture, axis=0)) > 10  # paper, points and names
    pytest.importorskip("pyarrow", reason="needs the extra `data`")
    with page.expect_download() as download:
        page.get_by_role("button", name="Parquet").click()
    download.value.save_as(tmp_path / "points.parquet")
    assert (tmp_path / "points.parquet").read_bytes()[:4] == b"PAR1"


def test_texts_are_points_coloured_by_their_labels(tab: Tab) -> None:
    page = go(tab, "#/project?run=film&source=texts&colour=label", ".cloud canvas")
    page.get_by_text("40 points of 12 dimensions").wait_for()
    page.locator("p", has_text="Colour: label").locator(".kind").nth(1).wait_for()  # each colour has its name
    chooser(page, "Points").select_option("tokens")
    page.get_by_text("320 points of 12 dimensions").wait_for()


def test_tokens_are_seen_in_any_layer(tab: Tab) -> None:
    page = go(tab, "#/project?run=film&source=tokens&find=good", "[aria-labelledby=near-title] tbody tr")
    assert chooser(page, "Layer").input_value() == "1" and "layer" not in page.url
    chooser(page, "Layer").select_option("0")
    page.get_by_text("320 points of 8 dimensions").wait_for()
    assert page.locator("#near-title").inner_text() == "Nearest to ▁good"  # the point that was chosen
    nearest = page.locator("[aria-labelledby=near-title] tbody tr").first
    page.wait_for_function(
        "() => document.querySelector('[aria-labelledby=near-title] td')?.innerText.trim() === '1.000'"
    )
    assert nearest.locator("th").inner_text() == "▁good"  # a word has one vector here, wherever it stands
    page.reload()
    page.get_by_text("320 points of 8 dimensions").wait_for()
    chooser(page, "Layer").select_option("1")
    page.get_by_text("320 points of 12 dimensions").wait_for()


@pytest.mark.parametrize("method, setting, module", [
    ("tsne", "perplexity", "openTSNE"), ("umap", "neighbours", "umap"),
])  # fmt: skip
def test_methods_with_their_settings(tab: Tab, method: str, setting: str, module: str) -> None:
    pytest.importorskip(module, reason=f"needs {module}")
    page = go(tab, f"#/project?run=words&method={method}&{setting}=6", ".cloud canvas")
    status = page.locator(".page p[role=status]")
    page.get_by_text(f"{setting} 6").wait_for()
    assert re.search(r"trustworthiness [01]\.\d{3} in 2 dimensions", status.inner_text())

"""`clew look` in a real browser, over runs of four families: everything works, nothing leaves, nobody is shut out."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tabs import AXE, PAGES, Tab

from clew.page.single_file import LOOK

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_itself_and_asks_no_one_else(tab: Tab, name: str) -> None:
    page = tab.open(name)
    assert page.title() == f"{PAGES[name][0]} · clew"
    assert page.locator("nav [aria-current=page]").inner_text() == PAGES[name][0]
    assert page.locator(".problem").count() == 0
    assert "token" not in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(browser: Any, address: str, name: str, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed here: python web/build.py --force")
    tab = Tab(browser, address, color_scheme=scheme, bypass_csp=True)  # axe is no part of the page
    page = tab.open(name)
    page.wait_for_timeout(300)
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    told = [f"{each['id']}: {[node['html'][:120] for node in each['nodes'][:3]]}" for each in found["violations"]]
    assert told == []
    tab.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_a_phone(browser: Any, address: str, name: str) -> None:
    tab = Tab(browser, address, viewport={"width": 390, "height": 800}, color_scheme="dark", reduced_motion="reduce")
    page = tab.open(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    tab.close()


def test_a_page_that_is_left_asks_for_nothing_more(tab: Tab) -> None:
    """Not even where the next page is of other runs: the address is no concern of it."""
    page = tab.open("bert")
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url.removeprefix(tab.base)))
    page.goto(tab.base + "#/runs?run=transformer")
    page.locator("tbody tr").first.wait_for()
    page.wait_for_timeout(300)
    assert [each for each in asked if each.startswith(("api/examples", "api/attention"))] == []


def test_runs_are_filtered_ticked_and_copied(tab: Tab) -> None:
    page = tab.open("runs")
    assert page.locator("tbody tr").count() == 6
    page.get_by_label("Filter").fill("seq2seq")
    assert page.locator("tbody tr").count() == 1 and "filter=seq2seq" in page.url
    page.get_by_label("Filter").fill("")
    page.get_by_label("Tick words").check()
    assert page.url.count("run=") == 3 and page.locator(".ticked").inner_text().count("words") == 1
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("Copy the command of lstm").click()
    page.get_by_text("Copied: clew train").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("clew train ")


def test_heads_are_chosen_and_cells_are_read_by_keyboard(tab: Tab) -> None:
    page = tab.open("attention")
    page.locator(".head").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => location.hash.includes('layer=1') && location.hash.includes('head=1')")
    matrix = page.get_by_role("application", name="head 1")
    matrix.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"\S+ → \S+ [01]\.\d\d", page.locator(".heads [role=status]").inner_text())
    assert page.locator(".token.on").count() > 0
    page.get_by_text("The same as a table").click()
    assert page.locator(".heads table tbody tr").count() > 1
    page.reload()
    page.locator("h2", has_text="head 1").wait_for()


def test_hovering_goes_both_ways(tab: Tab) -> None:
    page = tab.open("attention")
    looks, seen = page.get_by_label("Tokens that look"), page.get_by_label("Tokens that are looked at")
    looks.locator(".token").first.hover()
    assert seen.locator(".token.on").count() and not looks.locator(".token.on").count()
    seen.locator(".token").first.hover()
    assert looks.locator(".token.on").count() and not seen.locator(".token.on").count()


def test_alignment_error_is_shown_as_evaluated_and_moves_with_the_threshold(tab: Tab, small_runs: Path) -> None:
    from clew.runs import Run

    page = tab.open("attention")
    page.get_by_role("button", name="Measure").click()
    figure = Run(small_runs / "transformer").results()["splits"]["test"]["aer"]["value"]
    page.get_by_text(f"AER {figure:.4f} [").wait_for()
    slider = page.locator("[aria-labelledby=gold-title] input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    page.get_by_text("Only links of more than 0.90").wait_for()
    page.locator("[aria-labelledby=gold-title] li button").first.click()
    page.get_by_text("gold alignment", exact=False).first.wait_for()


def test_a_run_is_compared_with_itself_at_a_checkpoint(tab: Tab) -> None:
    page = tab.open("before")
    title = page.locator(".large h2").inner_text()
    assert re.fullmatch(r"(\S+), mean of all heads − step 2: \1, mean", title)
    assert page.get_by_text("more than step 2").is_visible()
    page.get_by_label("As it was at").select_option("4")
    page.wait_for_function("() => location.hash.includes('step=4')")
    page.get_by_label("Difference from").select_option("")
    page.locator(".large h2", has_text=re.compile("heads$")).wait_for()


@pytest.mark.parametrize("form", ["matrix", "arcs"])
def test_a_head_is_saved_as_numbers_and_as_a_picture(tab: Tab, form: str, tmp_path: Path) -> None:
    page = tab.open("t5")
    if form == "arcs":
        page.get_by_role("radio", name="Arcs").check(force=True)
        page.locator(".arcs svg").wait_for()
    files = {}
    for ending in ("CSV", "JSON", "SVG", "PNG"):
        with page.expect_download() as download:
            page.get_by_label("Save this head").get_by_role("button", name=ending).click()
        assert (
            download.value.suggested_filename == f"decoder.layers.0.cross_attention-mean-of-all-heads.{ending.lower()}"
        )
        files[ending] = tmp_path / ending
        download.value.save_as(files[ending])
    saved = json.loads(files["JSON"].read_text())
    with files["CSV"].open() as stream:
        (_, *columns), *rows = csv.reader(stream)
    assert saved["columns"] == columns and saved["rows"] == [row[0] for row in rows]
    assert [[float(value) for value in row[1:]] for row in rows] == saved["weights"]
    assert all(abs(sum(row) - 1) < 0.01 for row in saved["weights"])
    drawing = ElementTree.fromstring(files["SVG"].read_text())
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert "</s>" in texts and len(texts) >= len(rows) + len(columns)
    assert files["PNG"].read_bytes().startswith(b"\x89PNG")


def test_two_runs_look_at_one_sentence_side_by_side(tab: Tab) -> None:
    page = tab.open("compare")
    sides = page.locator("[aria-labelledby=beside-title] .side")
    sides.nth(1).locator("canvas").wait_for()
    page.get_by_label("What both are to write").fill("le chat dort .")
    page.get_by_role("button", name="Look", exact=True).click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.side .out')].every((p) => p.innerText === 'le chat dort .')"
    )
    sides.nth(1).get_by_role("combobox", name="Head").select_option("0.1")
    page.wait_for_function("() => location.hash.includes('head1=0.1')")
    matrix = sides.nth(1).get_by_role("application", name="transformer, ")
    matrix.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"\S+ → \S+ [01]\.\d\d", sides.nth(1).locator("[role=status]").inner_text())
    page.get_by_label("Show").select_option("wins")
    page.wait_for_function("() => location.hash.includes('show=wins')")


def test_a_walk_goes_forward_and_back_and_says_that_it_equals_the_engine(tab: Tab) -> None:
    page = tab.open("walk")
    title = page.locator(".head h2")
    assert title.inner_text().startswith("4.")
    page.get_by_role("button", name="Forward →").click()
    assert title.inner_text().startswith("5.") and "step=5" in page.url
    page.locator("body").press("ArrowLeft")
    page.wait_for_function("() => location.hash.includes('step=4')")
    said = page.get_by_text("Equals the engine").inner_text()
    power = re.search(r"to \d+e−(\d+)", said)
    assert "exactly" in said or (power is not None and int(power[1]) >= 6)
    assert page.locator("math").count() and page.locator(".katex-error").count() == 0


def test_paths_through_time_are_marked(tab: Tab) -> None:
    page = tab.open("time")
    assert page.locator("svg .node.on").count() == 9  # L₃ o₃ h₃ a₃ h₂ a₂ h₁ a₁ and W
    page.get_by_role("button", name="L₂ → W at 2").click()
    assert page.locator("svg .node.on").count() == 5
    page.get_by_label("Parameter").select_option("U")
    page.get_by_text("The sum of its 10 paths equals autograd’s").wait_for()


def test_two_runs_answer_the_same_text(tab: Tab) -> None:
    page = tab.open("play")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator(".answers .panel .best").nth(1).wait_for()
    page.locator("textarea").fill("the dog .")
    page.locator("textarea").press("Enter")
    page.wait_for_function("() => location.hash.includes('dog')")


def test_tokens_that_are_written_are_read_by_keyboard_and_written_anew_live(tab: Tab, tmp_path: Path) -> None:
    page = tab.open("write")
    page.get_by_text("12 tokens in").wait_for()
    text = page.get_by_role("application", name="What gpt wrote")
    before = text.inner_text()
    assert before.startswith("the cat") and text.locator(".token").count() == 12
    text.focus()
    for key in ("Home", "ArrowRight"):
        page.keyboard.press(key)
    said = page.locator(".instead [role=status]").inner_text()
    assert re.search(r": probability [\d.<]+ ?[\d.]*, drawn with [\d.<]+ ?[\d.]*; instead ", said)
    assert page.locator(".instead tbody tr").count() >= 8 and page.locator(".instead tr.on").count() == 1
    assert page.locator(".instead td.cut").count() >= 3  # five are drawn from
    page.get_by_label("Temperature").fill("0")
    page.wait_for_function("before => document.querySelector('.text').innerText !== before", arg=before)
    page.get_by_text("12 tokens in").wait_for()
    assert "temperature=0" in page.url
    page.get_by_label("Tokens", exact=True).fill("5")
    page.get_by_text("5 tokens in").wait_for()
    page.get_by_role("button", name="Another draw").click()
    page.wait_for_function("() => location.hash.includes('seed=4')")
    page.wait_for_timeout(500)  # longer than a control must rest
    page.locator(".answers[aria-busy=false]").wait_for()
    page.get_by_text("5 tokens in").wait_for()
    page.get_by_text("The same as a table").click()
    assert page.locator("details tbody tr").count() == 5
    with page.expect_download() as download:
        page.get_by_label("Save the table of written by gpt").get_by_role("button", name="CSV").click()
    file = tmp_path / "written.csv"
    download.value.save_as(file)
    with file.open() as stream:
        rows = [*csv.reader(stream)]
    assert len(rows) == 6 and rows[0][:2] == ["token", "probability"]
    page.get_by_role("radio", name="searches").check(force=True)
    page.get_by_role("application", name="Beam tree of gpt").wait_for()
    assert "how=beam" in page.url


def test_a_beam_s_tree_is_walked_by_keyboard(tab: Tab, tmp_path: Path) -> None:
    page = tab.open("play")
    tree = page.get_by_role("application", name="Beam tree of transformer")
    tree.focus()
    status = page.locator("figure [role=status]").first
    page.keyboard.press("End")
    assert status.inner_text().endswith(": answer 1")
    page.keyboard.press("ArrowLeft")
    assert status.inner_text().endswith(": went on")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    assert tree.locator(".node.chosen").count() == 1 and tree.locator(".edge.winner").count() > 1
    page.get_by_text("The same as a table").first.click()
    assert page.locator("figure").first.locator("tbody tr").count() == tree.locator(".node").count()
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG").first.click()
    file = tmp_path / "beam.svg"
    download.value.save_as(file)
    drawn = ElementTree.fromstring(file.read_text())
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert len(texts) >= 2 * tree.locator(".node").count()  # a token and its probability each


def test_points_are_found_chosen_and_lassoed(tab: Tab) -> None:
    page = tab.open("project")
    page.get_by_role("heading", name="Nearest to cat").wait_for()
    page.locator("[aria-labelledby=near-title] tbody tr").first.wait_for()
    page.get_by_role("button", name="Lasso", exact=True).click()
    box = page.locator(".cloud").bounding_box()
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
    page.mouse.up()
    page.get_by_role("heading", name="in the lasso").wait_for()
    page.get_by_role("radio", name="3-D").check(force=True)
    page.get_by_role("application", name="turn").focus()
    page.keyboard.press("ArrowLeft")


def test_layers_are_compared(tab: Tab) -> None:
    page = tab.open("compare")
    page.get_by_role("button", name="Compare layers").click()
    page.locator(".cka td").first.wait_for()
    assert "model.kind" in page.locator(".recipe").inner_text()


def test_names_and_tokens_never_become_markup(
    browser: Any, serve: Callable[[Path], str], small_runs: Path, tmp_path: Path
) -> None:
    name = "<img src=x onerror=alert(1)>"
    shutil.copytree(small_runs / "transformer", tmp_path / "runs" / name)
    recipe = tmp_path / "runs" / name / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('name = "transformer"', 'name = "<script>alert(2)</script>"'))
    tab = Tab(browser, serve(tmp_path / "runs"))
    tab.page.get_by_text(name).first.wait_for()
    for where, ready in (
        ("attention?text=%3Cimg+src%3Dx+onerror%3Dalert(3)%3E+the+cat", ".heads canvas"),
        ("walk?text=%3Cb%3E+cat", "math"),
    ):
        tab.page.goto(f"{tab.base}#/{where}")
        tab.page.reload()
        tab.page.locator(ready).first.wait_for()
    assert tab.page.locator("main img, main script, main b > b").count() == 0
    tab.close()


def test_a_run_that_goes_under_view_is_told(
    browser: Any, serve: Callable[[Path], str], small_runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_runs, tmp_path / "runs")
    tab = Tab(browser, serve(tmp_path / "runs"))
    page = tab.open("play")
    shutil.rmtree(tmp_path / "runs" / "transformer")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_timeout(1500)
    page.goto(f"{tab.base}#/runs")
    page.locator("tbody tr").nth(4).wait_for()
    assert page.locator("tbody tr").count() == 5
    # The browser itself notes the answer 422; nothing else may be wrong.
    tab.wrong = [line for line in tab.wrong if "status of 422" not in line]
    tab.close()


def test_a_long_text_under_many_heads_is_open_in_two_seconds(browser: Any, address: str, small_runs: Path) -> None:
    tab = Tab(browser, address)
    text = "+".join(["cat"] * 20)
    tab.page.goto(f"{tab.base}#/attention?run=bert&text={text}")
    begin = time.monotonic()
    tab.page.reload()
    tab.page.locator(".heads canvas").first.wait_for()
    assert time.monotonic() - begin < 10  # a bound for any machine; benchmarks/look.py measures
    tab.close()


def test_the_first_page_is_light() -> None:
    if not (LOOK / "index.html").is_file():
        pytest.skip("the front-end is not built here: python web/build.py")
    html = (LOOK / "index.html").read_text()
    files = [
        LOOK / "index.html",
        *(LOOK / path.lstrip("/") for path in re.findall(r'(?:src|href)="(/assets/[^"]+)"', html)),
    ]
    size = sum(len(gzip.compress(file.read_bytes())) for file in files)
    assert len(files) >= 3 and size <= 250_000

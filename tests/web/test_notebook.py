"""A view in a notebook is the page's own, in a frame that reaches nothing around it."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import clew
from clew.errors import ClewError, RunError
from clew.page.single_file import STATIC
from clew.web.notebook import View
from clew.web.saved import question, shell

needs_page = pytest.mark.skipif(not (STATIC / "saved").is_dir(), reason="the front-end is not built: web/build.py")


def held(view: View) -> Any:
    """What the file has beside the page itself."""
    text = re.search(r'id="clew-data" data-view="look">(.*?)</script>', view.html, re.DOTALL)
    assert text is not None and "<" not in text[1]
    return json.loads(text[1])


@needs_page
def test_attention_shows_itself_in_a_frame_of_its_own(runs: Path, tmp_path: Path) -> None:
    view = clew.look(runs / "transformer").attention('the cat "sleeps" .</script>')
    shown = view._repr_html_()
    assert shown.count("<iframe") == 1 and 'sandbox="allow-scripts allow-downloads"' in shown
    inside = unescape(shown.partition('srcdoc="')[2].partition('" sandbox')[0])
    assert inside == view.html and 'data-view="look"' in inside and "default-src 'none'" in inside
    assert view.save(tmp_path / "view.html").read_text(encoding="utf-8") == view.html
    data = held(view)
    assert data["page"] == "attention" and data["runs"][0]["name"] == "transformer"
    assert str(runs) not in view.html  # where a run lies is nobody else's business


@needs_page
def test_every_view_holds_the_answers_that_its_page_asks_for(runs: Path) -> None:
    looked = clew.look(runs / "lstm", runs / "transformer")
    views = {
        "curves": looked.curves(y="train loss"), "play": looked.play("the cat sleeps ."),
        "walk": looked.walk("the cat sleeps ."), "compare": looked.compare("the cat sleeps ."),
        "project": clew.look(runs / "words").project(), "gpt": clew.look(runs / "gpt").play("the cat"),
    }  # fmt: skip
    asked = {page: [key.partition(" ")[0] for key in held(view)["answers"]] for page, view in views.items()}
    assert asked["curves"] == ["series"] * 2 and asked["play"] == ["examples", "predict"] * 2
    assert asked["walk"] == ["walks", "walk"] and asked["gpt"] == ["examples", "write"]
    assert asked["compare"][:3] == ["compare", "alike", "attention"] and len(asked["compare"]) == 8
    assert asked["project"][:2] == ["points/sources", "points"]
    assert [key.split("/")[-1] for key in asked["project"][2:]] == ["coordinates", "trust"]
    assert held(views["compare"])["hash"].startswith("#/compare?run=lstm&run=transformer&text=the+cat")


def test_a_question_has_one_name() -> None:
    assert question("a/b", {}) == "a/b"
    assert question("walk", {"text": "é\u2028", "at": 0, "step": None}) == 'walk {"at":0,"step":null,"text":"é\u2028"}'


def test_what_cannot_be_looked_at_is_said(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run here"):
        clew.look(tmp_path)
    with pytest.raises(ClewError, match="does not attend"):
        clew.look(runs / "words").attention("cat")
    with pytest.raises(ClewError, match="there is no such page"):
        shell("nothing")
    with pytest.raises(AttributeError):
        clew.nothing  # noqa: B018

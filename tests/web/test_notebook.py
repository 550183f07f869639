"""A view in a notebook is the page's own, in a frame that reaches nothing around it."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest

import clew
from clew.errors import ClewError, RunError


def test_attention_shows_itself_in_a_frame_of_its_own(runs: Path, tmp_path: Path) -> None:
    view = clew.look(runs / "transformer").attention('the cat "sleeps" .')
    shown = view._repr_html_()
    assert shown.count("<iframe") == 1 and 'sandbox="allow-scripts allow-downloads"' in shown
    inside = unescape(shown.partition('srcdoc="')[2].partition('" sandbox')[0])
    assert inside == view.html and 'data-view="attention"' in inside and "default-src 'none'" in inside
    assert view.save(tmp_path / "view.html").read_text(encoding="utf-8") == view.html


def test_what_cannot_be_looked_at_is_said(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run here"):
        clew.look(tmp_path)
    with pytest.raises(ClewError, match="does not attend"):
        clew.look(runs / "words").attention("cat")
    with pytest.raises(AttributeError):
        clew.nothing  # noqa: B018

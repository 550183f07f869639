"""The single file holds everything, asks the network for nothing, and cannot be broken open by its data."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from clew.errors import ClewError
from clew.page import single_file as page
from clew.page.single_file import single_file

FIXTURE = Path(__file__).parents[2] / "web" / "fixtures" / "compare.json"
NASTY = "</script><script>alert(1)</script><!-- & \u2028 \u00e9 < >"


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stand-in for the built front-end, so that these tests need no Node."""
    (tmp_path / "clew.js").write_text('const end = "</script>"; // <!-- not a comment', encoding="utf-8")
    (tmp_path / "clew.css").write_text("body { margin: 0 }", encoding="utf-8")
    (tmp_path / "licences.md").write_text("# Licences\n<b>", encoding="utf-8")
    for folder, files in {"look": ["licences.md"], "saved": ["saved.js", "saved.css", "katex.js"]}.items():
        (tmp_path / folder).mkdir()
        for name in files:
            (tmp_path / folder / name).write_text(f"// {name}", encoding="utf-8")
    monkeypatch.setattr(page, "STATIC", tmp_path)
    return tmp_path


@pytest.fixture
def data() -> dict[str, Any]:
    return json.loads(FIXTURE.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """What a browser would see: the scripts, the links, and the text inside <noscript>."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.addresses: list[str] = []
        self.policy = ""
        self.open: list[str] = []
        self.plain = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "action", "srcset"}]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        if tag == "script":
            self.scripts.append((found, ""))
        if tag in {"script", "noscript"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            self.open.remove(tag)

    def handle_data(self, text: str) -> None:
        if "script" in self.open:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + text)
        elif "noscript" in self.open:
            self.plain += text


def test_data_comes_back_whole_whatever_it_holds(bundle: Path, data: dict[str, Any]) -> None:
    data["title"] = NASTY
    data["sentences"][0]["source"] = NASTY
    found = Page(single_file("compare", data))
    assert len(found.scripts) == 2  # the data and the bundle: nothing in the data opened another
    attributes, text = found.scripts[0]
    assert attributes["type"] == "application/json" and attributes["data-view"] == "compare"
    assert json.loads(text) == data
    assert not set("<>&") & set(text)


def test_numbers_that_json_lacks_become_null(bundle: Path, data: dict[str, Any]) -> None:
    data["models"][0]["results"]["bleu"] = {"mean": math.nan, "low": -math.inf, "high": math.inf, "per_seed": (1.0,)}
    found = json.loads(Page(single_file("compare", data)).scripts[0][1])
    bleu = found["models"][0]["results"]["bleu"]
    assert bleu == {"mean": None, "low": None, "high": None, "per_seed": [1.0]}


def test_policy_allows_the_bundle_by_hash_and_no_request(bundle: Path, data: dict[str, Any]) -> None:
    found = Page(single_file("compare", data))
    digest = base64.b64encode(hashlib.sha256(found.scripts[1][1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in found.policy
    assert "default-src 'none'" in found.policy and "http" not in found.policy
    assert all(address.startswith(("data:", "#")) for address in found.addresses)


def test_without_scripts_the_figures_are_there(bundle: Path, data: dict[str, Any]) -> None:
    data["quality_target"] = None
    plain = Page(single_file("compare", data)).plain
    for wanted in (*data["summary"], data["command"], data["sentences"][3]["source"]):
        assert wanted in plain
    assert all(model["label"] in plain for model in data["models"])
    assert "not reached" in plain and "failed: loss became NaN" in plain


def test_missing_bundle_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "STATIC", tmp_path / "nowhere")
    with pytest.raises(ClewError, match=re.escape("python web/build.py")):
        single_file("compare", {})


def test_a_page_of_look_has_the_scripts_that_it_needs_and_no_more(bundle: Path) -> None:
    for name, needed in (("walk", ["// katex.js", "// saved.js"]), ("attention", ["// saved.js"])):
        found = Page(single_file("look", {"page": name, "title": NASTY}))
        assert [text for _, text in found.scripts[1:]] == needed
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in needed]
        assert "script-src " + " ".join(f"'sha256-{digest}'" for digest in digests) + ";" in found.policy
        assert NASTY in found.plain and json.loads(found.scripts[0][1])["title"] == NASTY


def test_unknown_view_names_the_views(bundle: Path) -> None:
    with pytest.raises(ValueError, match="compare"):
        single_file("comparison", {})


def test_built_bundle_is_small_and_names_no_address(data: dict[str, Any]) -> None:
    if not (page.STATIC / "clew.js").is_file():
        pytest.skip("the front-end is not built here: python web/build.py")
    files = [page.STATIC / name for name in ("clew.js", "clew.css", "saved/saved.js", "saved/saved.css")]
    sizes = [path.stat().st_size for path in files]
    assert sum(sizes[:2]) < 250_000 and sum(sizes[2:]) < 300_000
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    addresses = set(re.findall(r"https?://[\w./-]+", text))
    # Names of XML vocabularies, and the framework's pages about its own errors: never requested.
    assert all(re.match(r"https?://(www\.w3\.org|svelte\.dev)/", address) for address in addresses), addresses

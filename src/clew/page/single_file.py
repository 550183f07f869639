"""One HTML file that holds a view of the page, its data and nothing that needs a network."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from clew.errors import ClewError

STATIC = Path(__file__).parent / "static"
LOOK = STATIC / "look"  # the page that `clew look` serves
# Of each view its scripts, its style sheet and their licences.
PARTS = {
    "compare": (["clew.js"], "clew.css", "licences.md"),
    "look": (["saved/saved.js"], "saved/saved.css", "look/licences.md"),
}
NEEDED = {"walk": ["saved/katex.js"], "curves": ["saved/uplot.js"]}  # by these pages of `look` alone


def single_file(view: str, data: dict[str, Any]) -> str:
    """Return one self-contained HTML page that shows `data` in the view named `view`.

    "compare" is the report of a comparison; "look" a page of `clew look` as it stood, `data["page"]` (see
    `web/saved.py`). The built front-end and the data lie inside the page; its content security policy allows its own
    scripts, by hash, and no request at all. NaN and infinities become null. Without scripts the figures of a report
    show as plain HTML.

    Raises:
        ValueError: there is no such view.
        ClewError: the front-end has not been built.
    """
    if view not in PARTS:
        raise ValueError(f"no view named {view!r}; the views are: {', '.join(PARTS)}")
    names, style, licences = PARTS[view]
    needed = NEEDED.get(data.get("page", ""), [])
    scripts = [_bundled(name).replace("</script", "<\\/script").replace("<!--", "<\\!--") for name in [*needed, *names]]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    finite = _finite(data)
    return _template().render(
        view=view,
        data=finite,
        json=Markup(_json_in_html(finite)),
        scripts=[Markup(script) for script in scripts],
        style=Markup(_bundled(style).replace("</style", "<\\/style")),
        licences=_bundled(licences),
        hashes=Markup(" ".join(f"'sha256-{digest}'" for digest in digests)),
    )


def _bundled(name: str) -> str:
    path = STATIC / name
    if not path.is_file():
        raise ClewError("the browser page has not been built", where=str(path), fix="python web/build.py")
    return path.read_text(encoding="utf-8")


def _finite(value: Any) -> Any:
    """Return data as JSON has it, with None for NaN and infinities, which JSON does not have."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def _json_in_html(data: Any) -> str:
    """Write JSON in which no character can end the script element that holds it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _template() -> Any:
    loader = PackageLoader("clew.page", "templates")
    return Environment(loader=loader, autoescape=True).get_template("page.html")

"""One HTML file that holds a view of the page, its data and nothing that needs a network."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from clew.errors import ClewError

STATIC = Path(__file__).parent / "static"
LOOK = STATIC / "look"  # the page that `clew look` serves
VIEWS = ("attention", "compare")


def single_file(view: str, data: dict[str, Any]) -> str:
    """Return one self-contained HTML page that shows `data` in the view named `view`.

    The built front-end and the data lie inside the page; its content security policy allows its own script, by hash,
    and no request at all. NaN and infinities become null. Without scripts the same figures show as plain HTML.

    Raises:
        ValueError: there is no such view.
        ClewError: the front-end has not been built.
    """
    if view not in VIEWS:
        raise ValueError(f"no view named {view!r}; the views are: {', '.join(VIEWS)}")
    script = _bundled("clew.js").replace("</script", "<\\/script").replace("<!--", "<\\!--")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    finite = _finite(data)
    return _template().render(
        view=view,
        data=finite,
        json=Markup(_json_in_html(finite)),
        script=Markup(script),
        style=Markup(_bundled("clew.css").replace("</style", "<\\/style")),
        licences=_bundled("licences.md"),
        script_hash=f"sha256-{digest}",
    )


def _bundled(name: str) -> str:
    path = STATIC / name
    if not path.is_file():
        raise ClewError("the browser page has not been built", where=str(path), fix="python web/build.py")
    return path.read_text(encoding="utf-8")


def _finite(value: Any) -> Any:
    """Copy nested lists and dicts with None for NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json_in_html(data: Any) -> str:
    """Write JSON in which no character can end the script element that holds it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _template() -> Any:
    loader = PackageLoader("clew.page", "templates")
    return Environment(loader=loader, autoescape=True).get_template("page.html")

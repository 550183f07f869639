"""Figures as run folders hold them, and what may be read off them: nobody else looks at the type of a value."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

Figure = dict[str, Any]
"""value, low, high and signature of a metric, and whatever else it tells."""


def metrics(measured: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the metrics among what was measured of a split, each with its interval: no counts, no speeds."""
    return {name: figure for name, figure in measured.items() if isinstance(figure, dict)}


def well_formed(figure: Figure) -> bool:
    """Return whether a metric is one: a number, with an interval or none."""
    interval = [figure.get("low"), figure.get("high")]
    ends = [end for end in interval if end is not None]
    return all(isinstance(each, int | float) for each in (figure.get("value"), *ends))


def shown(figure: Any) -> str:
    """Return a metric with its interval and signature, a count or a speed for people to read."""
    if isinstance(figure, dict):
        return f"{with_interval(figure)}  {figure['signature']}"
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.4g}"


def with_interval(figure: Figure) -> str:
    """Return the value of a metric, with its interval and what it is without a model, where it has these."""
    interval = "" if figure["low"] is None else f" [{figure['low']:.2f}, {figure['high']:.2f}]"
    return f"{figure['value']:.2f}{interval}{beside(figure)}"


def beside(figure: Figure) -> str:
    """Return what always giving the commonest answer would have, of a figure that knows it; "" otherwise."""
    return f" (commonest answer: {figure['baseline']:.2f})" if "baseline" in figure else ""


def numbers(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what is a number in a row of the log, by name; None for one that is not finite."""
    return {
        name: float(value) if math.isfinite(value) else None
        for name, value in row.items() if isinstance(value, int | float)
    }  # fmt: skip


def whole_rows(text: str) -> list[dict[str, Any]]:
    """Return the rows of a log that are whole: the last one may be being written."""
    found = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            found.append(row)
    return found


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the dotted key and both values where two recipes differ; a key that one lacks is None there."""
    for key in dict.fromkeys([*one, *other]):
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield prefix + key, a, b

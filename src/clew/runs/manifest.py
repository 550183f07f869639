"""What a finished run is made of, each file with its SHA-256: a bit that was flipped later is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from clew.errors import RunError
from clew.train import checkpoint

MANIFEST = "manifest.json"
RESULTS = "results.json"
MODEL = "model.safetensors"
NOT_READ = {"outputs", "samples", "events", "metrics.jsonl", "README.md", MODEL}  # by what opens a run
ELSEWHERE = {"checkpoints"}  # these have their own checksums


def files(folder: Path) -> Iterator[str]:
    """Yield the names of what a run is made of, by "/" from its folder; hidden files are nobody's."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        top = name.partition("/")[0]
        if path.is_file() and top not in ELSEWHERE and not any(p.startswith(".") for p in name.split("/")):
            yield name


def write_manifest(folder: Path, results: bytes) -> None:
    """Flush every file to disk, and list it; results: what `results.json` is about to hold, the last file written."""
    listed = {}
    for name in files(folder):
        if name not in (MANIFEST, RESULTS):
            checkpoint.flush(folder / name)
            listed[name] = checkpoint.sha256(folder / name)
    listed[RESULTS] = hashlib.sha256(results).hexdigest()
    target = folder / MANIFEST
    target.write_text(json.dumps({"sha256": listed}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    checkpoint.flush(target)


def read_manifest(folder: Path) -> Mapping[str, str] | None:
    """Return name → SHA-256; None for a run that has none, as those before 2026-12 and those that have not finished.

    Raise RunError where it is damaged.
    """
    file = folder / MANIFEST
    if not file.is_file() or not (folder / RESULTS).is_file():
        return None
    try:
        listed = {name: str(digest) for name, digest in dict(json.loads(file.read_bytes())["sha256"]).items()}
        if all((folder / name).resolve().is_relative_to(folder.resolve()) for name in listed):
            return listed
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise RunError("the list of this run's files is damaged", where=str(file), fix="delete it to do without it")


def damaged(folder: Path, names: Iterable[str] | None = None) -> list[str]:
    """Return what is not as it was when the run finished, each with how; names: of the files to look at, not all."""
    listed = read_manifest(folder)
    if listed is None:
        return []
    asked = listed.keys() if names is None else [name for name in names if name in listed]
    found = []
    for name in asked:
        if not (folder / name).is_file():
            found.append(f"{name} is missing")
        elif checkpoint.sha256(folder / name) != listed[name]:
            found.append(f"{name} has changed")
    if names is None:
        broken = checkpoint.broken(folder / "checkpoints")
        found += [f"{path.relative_to(folder).as_posix()} has changed" for path in broken]
    return found


def check_opened(folder: Path) -> None:
    """Look at what every command reads of a run. Raise RunError naming what has changed since it finished."""
    listed = read_manifest(folder) or {}
    check(folder, [name for name in listed if name.partition("/")[0] not in NOT_READ])


def check(folder: Path, names: Iterable[str] | None = None) -> None:
    """Raise RunError naming what is not as it was when the run finished."""
    if found := damaged(folder, names):
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise RunError(
            f"this run is not as it was when it finished: {', '.join(found[:5])}{more}", where=str(folder),
            fix=f"restore it from a copy; a lost model comes back from a checkpoint (clew train {folder} --resume); to "
            f"take the files as they are, delete {MANIFEST}",
        )  # fmt: skip

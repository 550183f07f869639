"""Files and bodies whose bytes are not what they should be: the page stays up, says what is wrong, leaks nothing."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ASKED = {
    "lstm": ("/api/predict", {"text": "the cat"}), "transformer": ("/api/attention", {"text": "the cat"}),
    "bert": ("/api/predict", {"text": "the [MASK]"}), "words": ("/api/points", {"source": "words"}),
}  # fmt: skip
WHO = "root:x:0:0"  # what a file outside of the folder would say


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


def bomb() -> bytes:
    """A few bytes that say they are many."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", b"\0" * (1 << 22))
    return stream.getvalue()


def header(size: int, said: Any) -> bytes:
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return struct.pack("<Q", size if size >= 0 else len(text)) + text


HUGE = {"input": {"dtype": "F32", "shape": [1 << 31, 1 << 20], "data_offsets": [0, 1 << 53]}}
OVERLAP = {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in ("a", "b")}
WEIGHTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut in its header": lambda whole: whole[:40],
    "cut in its numbers": lambda whole: whole[:-100],
    "garbage": lambda whole: b"\xff\x00\x80garbage" * 500,
    "a header longer than the file": lambda whole: header(1 << 62, {}),
    "a header that is no JSON": lambda whole: header(-1, b"{" * 200),
    "a deeply nested header": lambda whole: header(-1, b"[" * 50_000),
    "tensors larger than the file": lambda whole: header(-1, HUGE),
    "tensors over each other": lambda whole: header(-1, OVERLAP) + b"\0" * 16,
    "other tensors": lambda whole: (
        header(-1, {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + b"\0" * 4
    ),
    "a pickle": lambda whole: b"\x80\x04cos\nsystem\n(S'touch /tmp/clew-was-here'\ntR.",
    "numpy with objects": lambda whole: npy(),
    "parquet": lambda whole: b"PAR1" + b"\x00" * 100 + b"PAR1",
    "an archive": lambda whole: bomb(),
    "bytes turned around": lambda whole: whole[::-1],
}


@pytest.fixture(scope="module")
def spoilt(runs: Path, serve: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A copy of the runs, to be damaged, and the page over it."""
    root = tmp_path_factory.mktemp("spoilt") / "runs"
    shutil.copytree(runs, root)
    return root, serve(root)


def clear(answer: Any, root: Path) -> None:
    """A refusal that says what is wrong, and nothing of how the program or the machine is built."""
    assert answer.status == 422, answer.body
    assert answer.json["what"] and len(answer.body) < 4000
    text = answer.body.decode()
    for secret in ("Traceback", 'File "', WHO, str(root.parent), "site-packages"):
        assert secret not in text, text


def alive(page: Any) -> None:
    assert page("/api/runs").status == 200
    assert page("/api/predict", {"run": "words", "text": "cat"}).status == 200


@pytest.mark.parametrize("name", ["lstm", "transformer", "bert"])
@pytest.mark.parametrize("damage", WEIGHTS)
def test_weights_that_are_none(spoilt: tuple[Path, Any], name: str, damage: str) -> None:
    root, page = spoilt
    file = root / name / "model.safetensors"
    whole = file.read_bytes()
    path, asked = ASKED[name]
    try:
        file.write_bytes(WEIGHTS[damage](whole))
        clear(page(path, {"run": name, **asked}), root)
        alive(page)
    finally:
        file.write_bytes(whole)
    assert not Path("/tmp/clew-was-here").exists()
    assert page(path, {"run": name, **asked}).status == 200  # whole again, it answers again


TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "not text": lambda whole: b"\xff\xfe\x00\x80" * 100,
    "deep": lambda whole: b"[" * 100_000,
    "another thing": lambda whole: b'{"pieces": 3}',
    "a list": lambda whole: b"[1, 2, 3]",
    "null": lambda whole: b"null",
    "numbers without end": lambda whole: b'{"vocab": ' + b"9" * 50_000 + b"}",
}


@pytest.mark.parametrize("damage", TEXTS)
@pytest.mark.parametrize("name, file", [
    ("lstm", "tokenizer.source.json"), ("bert", "tokenizer.json"), ("words", "tokenizer.json"),
    ("transformer", "recipe.toml"), ("transformer", "results.json"), ("lstm", "metrics.jsonl"),
])  # fmt: skip
def test_files_that_are_no_text_of_theirs(spoilt: tuple[Path, Any], name: str, file: str, damage: str) -> None:
    root, page = spoilt
    path = root / name / file
    assert path.is_file(), sorted(each.name for each in (root / name).iterdir())
    whole = path.read_bytes()
    asked, body = ASKED[name]
    try:
        path.write_bytes(TEXTS[damage](whole))
        answers = [page(asked, {"run": name, **body}), page(f"/api/series?run={name}"), page(f"/api/walks?run={name}"),
                   page("/api/compare?one=lstm&other=transformer")]  # fmt: skip
        for answer in answers:
            if answer.status != 200:
                clear(answer, root)
        if file.startswith("tokenizer") or (file == "recipe.toml" and damage != "cut"):  # half a recipe is one
            assert answers[0].status == 422
        assert page("/api/runs").status == 200
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "content", [b"\x93NUMPY\x01\x00\xff\xff", b"PAR1\x15\x04", b"\x80\x04cos\nsystem\n.", bomb(), npy()]
)
@pytest.mark.parametrize("path", ["/api/predict", "/api/attention", "/api/points", "/api/walk", "/api/unrolled"])
def test_bodies_of_bytes_are_no_questions(page: Any, path: str, content: bytes) -> None:
    for kind in ("application/json", "application/octet-stream", "multipart/form-data; boundary=x"):
        answer = page(path, content, Content_Type=kind)
        assert answer.status in (400, 415) and answer.json["what"] and b"Traceback" not in answer.body


@pytest.mark.parametrize("damage", ["cut", "not text", "null"])
def test_outputs_and_samples_that_are_damaged(spoilt: tuple[Path, Any], damage: str) -> None:
    root, page = spoilt
    kept = {path: path.read_bytes() for part in ("outputs", "samples") for path in (root / "lstm" / part).iterdir()}
    assert kept
    try:
        for path, whole in kept.items():
            path.write_bytes(TEXTS[damage](whole))
        for asked in ("/api/samples?run=lstm", "/api/examples?run=lstm", "/api/compare?one=lstm&other=transformer"):
            answer = page(asked)
            if answer.status != 200:
                clear(answer, root)
        alive(page)
    finally:
        for path, whole in kept.items():
            path.write_bytes(whole)

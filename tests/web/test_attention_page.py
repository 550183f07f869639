"""Attention in the page is the model's own, whatever the family; its alignment error is the one of `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clew.data.batches import Pairs
from clew.decode.attention import attention_maps
from clew.inspect.heads import attention_taps
from clew.nn.taps import capture
from clew.runs import Run
from clew.text.sentinels import encode_gaps
from clew.web import attention


def head(page: Any, found: Any, layer: int, at: int) -> np.ndarray:
    about = found["layers"][layer]
    answer = page(f"/api/attention/{found['id']}/{layer}/{at}")
    assert answer.headers["content-type"] == "application/octet-stream"
    return np.frombuffer(answer.body, "<f2").reshape(len(about["rows"]), len(about["columns"]))


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_a_translator_s_heads_are_those_of_the_model(page: Any, runs: Path, name: str) -> None:
    found = page("/api/attention", {"run": name, "text": "the cat sleeps .", "target": "le chat dort ."}).json
    run = Run(runs / name)
    preprocessor, model = run.preprocessor(), run.model()
    pair = Pairs(preprocessor.source.encode(["the cat sleeps ."]), preprocessor.target.encode(["le chat dort ."]))
    for tap, weights in attention_maps(model, pair.batch([0], **preprocessor.ids)).items():
        number = [layer["name"] for layer in found["layers"]].index(tap.removesuffix(".weights"))
        for at in range(weights.shape[1]):
            np.testing.assert_allclose(head(page, found, number, at), weights[0, at], atol=1e-3)
        np.testing.assert_allclose(head(page, found, number, -1), weights[0].mean(0), atol=1e-3)
        layer = found["layers"][number]
        assert layer["rows"][-1] == layer["columns"][-1] == preprocessor.target.specials.eos


def test_an_encoder_s_layers_go_over_its_own_tokens(page: Any) -> None:
    found = page("/api/attention", {"run": "bert", "text": "the cat [MASK] on the mat ."}).json
    assert len(found["layers"]) == 2
    for number, layer in enumerate(found["layers"]):
        assert layer["rows"] == layer["columns"] and "[MASK]" in layer["rows"] and layer["heads"] == 2
        rows = head(page, found, number, 0).astype(float).sum(axis=1)
        np.testing.assert_allclose(rows, 1, atol=5e-3)
    assert "[MASK]" in page("/api/attention", {"run": "bert", "text": "the cat"}).json["source"]


def test_a_model_that_writes_looks_back_alone(page: Any, runs: Path) -> None:
    found = page("/api/attention", {"run": "gpt", "text": "the cat sat"}).json
    assert len(found["layers"]) == 2 and found["layers"][0]["rows"] == [*"the cat sat"]
    run = Run(runs / "gpt")
    model, ids = run.model(), torch.tensor([run.preprocessor().encode(["the cat sat"])[0]])
    with capture(model, *attention_taps(model)) as seen, torch.no_grad():
        model(ids)
    for number, weights in enumerate(seen.values()):
        for at in range(2):
            shown = head(page, found, number, at)
            assert not np.triu(shown, 1).any()  # nothing of what comes later
            np.testing.assert_allclose(shown, weights[0][0, at], atol=1e-3)


def test_a_model_that_fills_gaps_has_both_its_sides(page: Any, runs: Path) -> None:
    asked = {"run": "t5", "text": "the <extra_id_0> sat on the mat .", "target": "<extra_id_0> cat"}
    found = page("/api/attention", asked).json
    run = Run(runs / "t5")
    preprocessor, model = run.preprocessor(), run.model()
    source, written = (
        encode_gaps(side, text)
        for side, text in ((preprocessor.source, asked["text"]), (preprocessor.target, asked["target"]))
    )
    rows = [*preprocessor.target.tokens(written), "</s>"]
    columns = [*preprocessor.source.tokens(source), "</s>"]
    assert columns.count("<extra_id_0>") == 1
    batch = Pairs([source], [written]).batch([0], **preprocessor.ids)
    with capture(model, *attention_taps(model)) as seen, torch.no_grad():
        model(batch)
    for number, (tap, weights) in enumerate(seen.items()):
        layer = found["layers"][number]
        sides = {"encoder": (columns, columns), "decoder": (rows, rows)}
        assert (layer["rows"], layer["columns"]) == ((rows, columns) if "cross" in tap else sides[tap.split(".")[0]])
        for at in range(2):
            np.testing.assert_allclose(head(page, found, number, at), weights[0][0, at], atol=1e-3)
    own = page("/api/attention", asked | {"target": ""}).json
    assert own["layers"][0]["columns"] == columns
    assert page("/api/attention", {"run": "t5", "text": "no gap"}).status == 422


def test_a_checkpoint_attends_as_it_did_then(page: Any, runs: Path) -> None:
    asked = {"run": "transformer", "text": "the cat sleeps .", "target": "le chat dort ."}
    last, final, early = (page("/api/attention", asked | {"step": step}).json for step in (4, None, 2))
    assert [layer["rows"] for layer in early["layers"]] == [layer["rows"] for layer in final["layers"]]
    np.testing.assert_array_equal(head(page, last, 0, 0), head(page, final, 0, 0))
    assert np.abs(head(page, early, 0, 0) - head(page, final, 0, 0)).max() > 1e-4
    answer = page("/api/attention", asked | {"step": 3})
    assert answer.status == 422 and "2, 4" in answer.json["fix"]


def test_what_sums_a_head_up(page: Any) -> None:
    found = page("/api/attention", {"run": "transformer", "text": "the cat sleeps ."}).json
    for number, layer in enumerate(found["layers"]):
        weights = head(page, found, number, 1).astype(float)
        entropy = -(weights * np.log2(np.maximum(weights, 1e-9))).sum(axis=1).mean()
        far = np.abs(np.arange(len(layer["rows"]))[:, None] - np.arange(len(layer["columns"])))
        assert layer["entropy"][1] == pytest.approx(entropy, abs=0.01)
        assert layer["distance"][1] == pytest.approx((weights * far).sum(axis=1).mean(), abs=0.01)
        assert 0 <= layer["entropy"][1] <= np.log2(len(layer["columns"])) + 0.01


def test_thumbnails_keep_the_largest_of_what_falls_together(page: Any) -> None:
    found = page("/api/attention", {"run": "bert", "text": "the cat sat on the mat . " * 4 + "[MASK]"}).json
    small = page(f"/api/attention/{found['id']}/thumbnails").body
    sizes = [layer["heads"] * layer["thumbnail"][0] * layer["thumbnail"][1] for layer in found["layers"]]
    assert len(small) == sum(sizes)
    first = head(page, found, 0, 0)
    assert len(first) > attention.THUMBNAIL
    largest = max(small[: found["layers"][0]["thumbnail"][0] ** 2])
    assert largest == pytest.approx(255 * np.sqrt(float(first.max())), abs=1)


def test_errors_say_what_to_do(page: Any) -> None:
    for body, said in (
        ({"run": "words", "text": "cat"}, "does not attend"), ({"run": "lstm", "text": " "}, "there is no text"),
        ({"run": "transformer", "text": "the cat " * 300}, "too many"),
    ):  # fmt: skip
        answer = page("/api/attention", body)
        assert answer.status == 422 and said in answer.json["what"] and answer.json["fix"]
    found = page("/api/attention", {"run": "lstm", "text": "the cat"}).json
    for path in (f"{found['id']}/0/1", f"{found['id']}/1/0", f"{found['id']}/-1/0", "none/0/0", "none/packed"):
        assert page(f"/api/attention/{path}").status == 422
    assert page(f"/api/attention/{found['id']}/0/x").status == 400


def test_old_texts_are_forgotten_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = attention.Maps()
    layer = attention.Layer("a.weights", ["x"] * 8, ["y"] * 8, torch.full((2, 8, 8), 1 / 8))
    monkeypatch.setattr(attention, "KEPT", 2 * layer.weights.nbytes)
    names = [maps.keep({"run": "a"}, [layer])["id"] for _ in range(3)]
    assert [*maps.found] == names[1:]


def test_the_alignment_error_is_that_of_evaluate(page: Any, runs: Path) -> None:
    found = page("/api/gold?run=transformer").json
    figure = Run(runs / "transformer").results()["splits"]["test"]["aer"]
    assert found["aer"]["value"] == pytest.approx(figure["value"], abs=1e-9) and found["aer"]["low"] == figure["low"]
    assert found["map"] == figure["map"].replace(".weights", "")
    assert found["curve"][0]["aer"] == found["aer"]["value"]
    assert found["curve"][0]["precision"] == pytest.approx(figure["precision"])
    recalls = [point["recall"] for point in found["curve"]]
    assert recalls == sorted(recalls, reverse=True)  # fewer links, fewer of the gold ones
    assert [each["aer"] for each in found["worst"]] == sorted((each["aer"] for each in found["worst"]), reverse=True)
    answer = page("/api/gold?run=bert")
    assert answer.status == 422 and "no gold alignments" in answer.json["what"]


def test_all_weights_are_packed_to_a_thousandth(page: Any) -> None:
    found = page("/api/attention", {"run": "transformer", "text": "the cat sleeps ."}).json
    halves = np.frombuffer(page(f"/api/attention/{found['id']}/packed").body, np.uint8).astype(int)
    low, high = np.split(halves, 2)
    start = 0
    for number, layer in enumerate(found["layers"]):
        size = len(layer["rows"]) * len(layer["columns"])
        for at in range(layer["heads"]):
            kept = (low + 256 * high)[start : start + size] / 1000
            np.testing.assert_allclose(kept, head(page, found, number, at).ravel(), atol=1.5e-3)
            start += size
    assert start == len(low)

"""Encoders as ONNX graphs and as sentence-transformers' folders: the same logits, the same vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clew.batches import TextBatch
from clew.config import TokenizerConfig
from clew.contracts import Model
from clew.data.batches import Texts
from clew.errors import RecipeError
from clew.hub import onnx, sentence_transformers
from clew.hub.onnx import Graph, PaddedEncoder
from clew.inputs import Tokens
from clew.models.bert import BertConfig
from clew.models.heads import sentence_vectors, with_head
from clew.text.tokenizer import Tokenizer

TEXTS = ["the cat sat on the mat", "a dog", "the bird flew over a big red house"]
CONFIG = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=32)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, TokenizerConfig(kind="wordpiece", vocab_size=60, lowercase=True))


def made(head: str, vocabulary: int) -> Any:
    torch.manual_seed(0)
    model = with_head(head, CONFIG, Tokens(vocabulary), 2).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def batch(tokenizer: Tokenizer, head: str) -> TextBatch:
    ids = [[tokenizer.cls_id, *row, tokenizer.sep_id] for row in tokenizer.encode(TEXTS)]
    if head == "choose":
        return Texts([*ids, ids[0]], [0, 1], choices=2).batch([0, 1], pad_id=0)
    return Texts(ids, [[0] * len(row) for row in ids], at=[[*range(len(row))] for row in ids]).batch(range(3), pad_id=0)


def said(model: Any, b: TextBatch, head: str) -> list[torch.Tensor]:
    out = model(b)
    if head == "masked_lm":
        weight, bias = model.output_table()
        return [out.hidden @ weight.t() + bias, out.next]
    return [out.start[b.mask], out.end[b.mask]] if head == "answer" else [out.logits]


def real(outputs: Any, b: TextBatch, head: str) -> list[torch.Tensor]:
    """What a graph says of the real tokens."""
    first, *rest = [torch.as_tensor(each) for each in outputs]
    if head == "masked_lm":
        return [first.flatten(0, 1)[b.at], rest[0].flip(-1)]
    if head == "answer":
        return [first[b.mask], rest[0][b.mask]]
    return [first.flatten(0, 1)[b.at] if head == "tag" else first]


def arguments(b: TextBatch, head: str) -> list[torch.Tensor]:
    shape = (-1, 2, b.text.shape[1]) if head == "choose" else b.text.shape
    return [each.view(shape) for each in (b.text, b.mask.long(), b.segment)]


def same(left: list[torch.Tensor], right: list[torch.Tensor], atol: float) -> None:
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=atol)


@pytest.mark.parametrize("head", ("masked_lm", "classify", "tag", "choose", "answer"))
@torch.no_grad()
def test_the_padded_graph_says_the_same(tokenizer: Tokenizer, head: str) -> None:
    model, b = made(head, len(tokenizer)), batch(tokenizer, head)
    expected = said(model, b, head)
    model.encoder = PaddedEncoder(model.encoder)
    same(real(Graph(model)(*arguments(b, head)), b, head), expected, 1e-5)


@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of itself
@pytest.mark.parametrize("head", ("masked_lm", "classify", "tag", "choose", "answer"))
@torch.no_grad()
def test_onnxruntime_says_the_same(tmp_path: Path, tokenizer: Tokenizer, head: str) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    model, b = made(head, len(tokenizer)), batch(tokenizer, head)
    assert onnx.export(model, tokenizer, {"model_type": "bert"}, tmp_path) < 1e-4
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    given = {name: t.numpy() for name, t in zip(onnx.INPUTS, arguments(b, head), strict=True)}  # of another shape
    same(real(session.run(None, given), b, head), said(model, b, head), 1e-4)  # and the model is as it was
    assert {file.name for file in tmp_path.iterdir()} == {
        "model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pooling", sentence_transformers.POOLING)
@pytest.mark.parametrize("head", ["classify", "tag"])  # with a pooler and without
@torch.no_grad()
def test_sentence_transformers_gives_the_same_vectors(
    tmp_path: Path, tokenizer: Tokenizer, head: str, pooling: Any
) -> None:
    peer = pytest.importorskip("sentence_transformers", reason="needs the extra sentence-transformers")
    model = made(head, len(tokenizer))
    sentence_transformers.export(model, tokenizer, tmp_path, pooling=pooling)
    theirs = peer.SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS, convert_to_tensor=True)
    same([sentence_vectors(model.encoder, batch(tokenizer, head), pooling)], [theirs], 1e-5)


@torch.no_grad()
def test_the_mean_is_of_real_tokens(tokenizer: Tokenizer) -> None:
    model, b = made("tag", len(tokenizer)), batch(tokenizer, "tag")
    out = model.encoder(b)
    states = out.packing.unpack(out.hidden)
    expected = [states[row, : int(n)].mean(dim=0) for row, n in enumerate(b.mask.sum(dim=1))]
    same([*sentence_vectors(model.encoder, b)], expected, 1e-6)
    same([sentence_vectors(model.encoder, b, "cls")], [states[:, 0]], 1e-6)


def test_what_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(RecipeError, match="Model gives no vectors of sentences"):
        sentence_transformers.export(Model(), tokenizer, tmp_path)
    with pytest.raises(RecipeError, match='no pooling is called "max"'):
        sentence_transformers.export(made("tag", 60), tokenizer, tmp_path, pooling="max")

"""BERT against transformers: every head, both directions, tiny random weights, padding and segments in the batch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clew.batches import TextBatch
from clew.data.batches import Texts
from clew.hub.adapter import absolute, adapter_of, family_of
from clew.inputs import Tokens
from clew.models.bert import SIZES, Bert, BertConfig, Pooler
from clew.models.heads import with_head
from clew.nn.taps import capture
from clew.tensor_file import save_file

transformers = pytest.importorskip("transformers", reason="needs the package transformers")

VOCABULARY = 19
CONFIG = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=16, n_segments=2, norm_eps=1e-6)
HEADS = {
    "masked_lm": ("BertForPreTraining", 2), "masked_lm alone": ("BertForMaskedLM", 0),
    "classify": ("BertForSequenceClassification", 3), "regress": ("BertForSequenceClassification", 1),
    "tag": ("BertForTokenClassification", 5), "choose": ("BertForMultipleChoice", 2),
    "answer": ("BertForQuestionAnswering", 2),
}  # fmt: skip


def config_to_hf(model: Any, pad_id: int) -> dict[str, Any]:
    return adapter_of(model).config_to_hf(model, SimpleNamespace(spec=Tokens(VOCABULARY, pad_id), labels=()))


def config_from_hf(settings: dict[str, Any], where: str) -> Any:
    return family_of(Bert).config_from_hf(settings, where)


def fill(model: Any, state: Any, where: str) -> None:
    adapter_of(model).fill(model, state, where)


def state_to_hf(model: Any) -> Any:
    return adapter_of(model).to_hf(model)


def ours(head: str) -> Any:
    """A model with random weights, far from their beginning, so that a mistake shows."""
    torch.manual_seed(len(head))
    known = {"masked_lm alone": "masked_lm", "regress": "classify"}.get(head, head)
    model = with_head(known, CONFIG, Tokens(VOCABULARY), HEADS[head][1]).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def batch(head: str) -> TextBatch:
    """Four texts of differing lengths, with a second segment; every place of the first and third is asked for."""
    text = [[5, 6, 7, 8, 9, 10], [11, 12], [3, 4, 13, 14], [15, 0, 17]]  # 0 within a text is a token as any other
    texts = Texts(text, [[0] * 6, [0] * 2, [0] * 4, [0] * 3], [3, 2, 1, 2], [[*range(len(t))] for t in text])
    if head == "choose":
        texts = Texts(text, [0, 1], [3, 2, 1, 2], choices=2)
    return texts.batch(range(len(texts)), pad_id=0)


def outputs(model: Any, head: str) -> list[Tensor]:
    """What a head of ours says, in the order of transformers' outputs."""
    b = batch(head)
    out = model(b)
    if head in ("masked_lm", "masked_lm alone"):
        weight, bias = model.output_table()
        return [out.hidden @ weight.t() + bias, *([out.next] if head == "masked_lm" else [])]
    return [out.start[b.mask], out.end[b.mask]] if head == "answer" else [out.logits]


def expected(model: Any, head: str) -> list[Tensor]:
    b = batch(head)
    shape = (-1, 2, b.text.shape[1]) if head == "choose" else b.text.shape
    out = model(
        input_ids=b.text.view(shape), attention_mask=b.mask.long().view(shape), token_type_ids=b.segment.view(shape)
    )
    if head == "masked_lm":  # there class 0 is "the second text follows", as in the published code
        return [out.prediction_logits.flatten(0, 1)[b.at], out.seq_relationship_logits[:, [1, 0]]]
    if head == "answer":
        return [out.start_logits[b.mask], out.end_logits[b.mask]]
    return [out.logits.flatten(0, 1)[b.at] if head in ("masked_lm alone", "tag") else out.logits]


def same(left: list[Tensor], right: list[Tensor]) -> None:
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@torch.no_grad()
def test_ours_there(tmp_path: Path, head: str) -> None:
    model = ours(head)
    save_file(state_to_hf(model), tmp_path / "model.safetensors", {"format": "pt"})
    config = transformers.BertConfig(**config_to_hf(model, 0))
    assert config.architectures == [HEADS[head][0]] == [adapter_of(model).architecture(model)]
    kind = getattr(transformers, HEADS[head][0])
    theirs, info = kind.from_pretrained(tmp_path, config=config, output_loading_info=True)
    assert not any(info.values()), info  # nothing missing, nothing left over
    same(outputs(model, head), expected(theirs.eval(), head))


@pytest.mark.parametrize("head", HEADS)
@torch.no_grad()
def test_theirs_here(tmp_path: Path, head: str) -> None:
    torch.manual_seed(1)
    said = {k: v for k, v in config_to_hf(ours(head), 0).items() if k != "architectures"}
    theirs = getattr(transformers, HEADS[head][0])(transformers.BertConfig(**said)).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.4)
    assert config_from_hf(theirs.config.to_dict(), "there") == CONFIG
    model = ours(head)
    fill(model, theirs.state_dict(), "there")  # which leaves nothing over, or raises
    same(outputs(model, head), expected(theirs, head))


@pytest.mark.parametrize("head", HEADS)
def test_there_and_back(head: str) -> None:
    model = ours(head)
    back = absolute(model, adapter_of(model).known(CONFIG, state_to_hf(model), "there"))
    assert back.keys() == model.state_dict().keys()
    assert all(back[name] is not None and torch.equal(back[name], t) for name, t in model.state_dict().items())


@pytest.mark.parametrize("head", HEADS)
@torch.no_grad()
def test_the_equation_is_the_engine(head: str) -> None:
    model = ours(head)
    fast = outputs(model, head)
    with capture(model, "*.attention.weights") as seen:
        slow = outputs(model, head)
    assert len(seen) == CONFIG.n_layers
    same(slow, fast)


@pytest.mark.parametrize(("size", "count"), [("base", 109_482_240), ("large", 335_141_888)])
def test_published_sizes(size: str, count: int) -> None:
    config = BertConfig.model_validate({"size": size})
    with torch.device("meta"):
        model = nn.ModuleList([Bert(config, Tokens(30_522)), Pooler(config.d_model)])
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_a_size_is_a_default() -> None:
    assert set(SIZES) == {"tiny", "mini", "small", "base", "large"}
    assert BertConfig() == BertConfig(size="mini").model_copy(update={"size": ""})  # type: ignore[call-arg]
    assert BertConfig.model_validate({"size": "base", "n_layers": 6}).n_layers == 6

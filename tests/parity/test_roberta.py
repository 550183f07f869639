"""RoBERTa under every head against transformers, both ways, and its differences from BERT one by one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clew.batches import TextBatch
from clew.config import TokenizerConfig
from clew.data.batches import Texts
from clew.errors import RecipeError
from clew.hub.adapter import adapter_of, family_of
from clew.inputs import Tokens
from clew.models.heads import with_head
from clew.models.roberta import Roberta, RobertaConfig
from clew.nn.taps import capture
from clew.tensor_file import save_file
from clew.text.template import encode_pairs
from clew.text.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers", reason="needs the package transformers")

SPEC = Tokens(19, 1)
CONFIG = RobertaConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=16)
HEADS = {
    "masked_lm": ("RobertaForMaskedLM", 0), "classify": ("RobertaForSequenceClassification", 3),
    "tag": ("RobertaForTokenClassification", 5), "choose": ("RobertaForMultipleChoice", 2),
    "answer": ("RobertaForQuestionAnswering", 2),
}  # fmt: skip


def scattered(model: nn.Module) -> Any:
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


def ours(head: str) -> Any:
    torch.manual_seed(len(head))
    return scattered(with_head(head, CONFIG, SPEC, HEADS[head][1]))  # type: ignore[arg-type]


def batch(head: str) -> TextBatch:
    text = [[5, 6, 7, 8, 9, 10], [11, 12], [3, 4, 13, 14], [15, 2, 17]]
    choices = 2 if head == "choose" else 1
    labels = [0] * (len(text) // choices)
    at = None if head == "choose" else [[*range(len(t))] for t in text]
    texts = Texts(text, labels if at is None else [[0] * len(t) for t in text], None, at, choices=choices)
    return texts.batch(range(len(texts)), pad_id=SPEC.pad_id)


def said(model: Any, b: TextBatch, head: str) -> Tensor:
    out = model(b)
    if head == "masked_lm":
        weight, bias = model.output_table()
        return out.hidden @ weight.t() + bias
    return torch.stack([out.start, out.end]) if head == "answer" else out.logits


def theirs_say(model: Any, b: TextBatch, head: str) -> Tensor:
    shape = (-1, 2, b.text.shape[1]) if head == "choose" else b.text.shape
    out = model(input_ids=b.text.view(shape), attention_mask=b.mask.long().view(shape))
    if head == "answer":
        hidden = ~b.mask
        return torch.stack([x.masked_fill(hidden, -torch.inf) for x in (out.start_logits, out.end_logits)])
    return out.logits.flatten(0, 1)[b.at] if head in ("masked_lm", "tag") else out.logits


@pytest.mark.parametrize("head", HEADS)
@torch.no_grad()
def test_ours_there(tmp_path: Path, head: str) -> None:
    model, adapter = ours(head), adapter_of(ours(head))
    save_file(adapter.to_hf(model), tmp_path / "model.safetensors", {"format": "pt"})
    config = transformers.RobertaConfig(**adapter.config_to_hf(model, SimpleNamespace(spec=SPEC, labels=())))
    assert config.architectures == [HEADS[head][0]] and config.max_position_embeddings == 18
    kind = getattr(transformers, HEADS[head][0])
    theirs, info = kind.from_pretrained(tmp_path, config=config, output_loading_info=True)
    assert not any(info.values()), info  # nothing missing, nothing left over
    b = batch(head)
    torch.testing.assert_close(said(model, b, head), theirs_say(theirs.eval(), b, head), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@torch.no_grad()
def test_theirs_here(head: str) -> None:
    model = ours(head)
    adapter = adapter_of(model)
    settings = adapter.config_to_hf(model, SimpleNamespace(spec=SPEC, labels=()))
    config = transformers.RobertaConfig(**{k: v for k, v in settings.items() if k != "architectures"})
    theirs = scattered(getattr(transformers, HEADS[head][0])(config))
    assert family_of(Roberta).config_from_hf(theirs.config.to_dict(), "there") == CONFIG
    adapter.fill(model, theirs.state_dict(), "there")  # which leaves nothing over, or raises
    b = batch(head)
    torch.testing.assert_close(said(model, b, head), theirs_say(theirs, b, head), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_equation_is_the_engine_and_segments_change_nothing() -> None:
    model, b = ours("classify"), batch("classify")
    engine = model(b).logits
    with capture(model, "*.attention.weights"):
        equation = model(b).logits
    torch.testing.assert_close(engine, equation, atol=1e-5, rtol=1e-5)
    b.segment = torch.ones_like(b.segment)
    assert torch.equal(model(b).logits, engine)


def test_there_are_no_next_sentences() -> None:
    with pytest.raises(RecipeError, match=r"task\.next_sentence"):
        with_head("masked_lm", CONFIG, SPEC, 2)


def test_two_ends_part_two_texts_as_there(tmp_path: Path) -> None:
    texts = ["the river ran past the mill", "the miller ran to the river"] * 3
    tokenizer = Tokenizer.train(texts, TokenizerConfig(kind="byte_bpe", vocab_size=300), mask=True)
    ids = encode_pairs(tokenizer, ["the river"], ["the mill"], 32).ids[0]
    assert ids.count(tokenizer.eos_id) == 3 and tokenizer.separators == 2
    tokenizer.save_pretrained(tmp_path, 16)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs("the river", "the mill")["input_ids"] == ids

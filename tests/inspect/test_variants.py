"""A variant of a model, or a user's own, is looked into like the model that it varies, without a line in inspect/."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clew.config import TokenizerConfig, resolve
from clew.contracts import Model
from clew.inputs import Tokens
from clew.inspect.points import points, sources
from clew.inspect.states import depths
from clew.inspect.through_time import of_text
from clew.inspect.walks import take, walks_for
from clew.models.bert import Bert, BertConfig, BertEmbeddings
from clew.models.gpt2 import GPT2, DecoderOutput, GPT2Config
from clew.models.heads import SequenceClassification
from clew.models.lstm import LSTM, LSTMConfig
from clew.nn.attention import MultiHeadAttention
from clew.nn.embedding import Embedding
from clew.nn.feedforward import FeedForward
from clew.nn.layer import Layer, Part
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.tokenizer import Tokenizer

TEXTS = ["the cat sat on the mat", "a dog ran in the park", "he likes cats"]
LETTERS = Tokenizer.train(TEXTS, TokenizerConfig(kind="characters"))
PIECES = Tokenizer.train(TEXTS, TokenizerConfig(kind="wordpiece", vocab_size=60), mask=True)
SIZES: dict[str, Any] = {"d_model": 8, "n_heads": 2, "n_layers": 2, "max_length": 32}


class MyGPT(GPT2):
    """Nothing but a name of its own."""


class MyLSTM(LSTM):
    """Nothing but a name of its own."""


class Offset(BertEmbeddings):
    """As RoBERTa's: positions begin at 2, and there are no segments."""

    def forward(self, token: Tensor, position: Tensor, segment: Tensor) -> Tensor:
        return self.dropout(self.norm(self.token(token) + self.position(position + 2)))


class Variant(Bert):
    """Gated feed-forward and rotary attention beside the positions that begin elsewhere."""

    def __init__(self, config: BertConfig, spec: Tokens) -> None:
        super().__init__(config, spec)
        self.embeddings = Offset(config, spec)
        for layer in self.layers:
            layer.attention.rotary = True
            layer.feedforward = FeedForward(config.d_model, config.d_ff, activation="silu", gated=True)


class OwnLayer(Layer):
    """A layer of one's own: the norm after the sum, other names, and a norm that nobody knows."""

    attentions = (Part("look", "look_norm", "decoder"),)
    feedforward_part = Part("think", "think_norm")
    pre = False

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.look, self.look_norm = MultiHeadAttention(d_model, 2), Halved()
        self.think, self.think_norm = FeedForward(d_model, 12, activation="gelu_tanh"), Halved()

    def forward(self, x: Tensor) -> Tensor:
        x = self.look_norm(x + self.look(x, x, causal=True))
        return self.think_norm(x + self.think(x))


class Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


class Own(Model):
    """A language model that derives from nothing but the contract."""

    heads = frozenset({"language_model"})

    def __init__(self, config: GPT2Config, spec: Tokens) -> None:
        super().__init__()
        self.config = config
        self.table = Embedding(spec.vocab_size, config.d_model)
        self.stack = nn.ModuleList(OwnLayer(config.d_model) for _ in range(2))

    def forward(self, text: Tensor, position: Tensor | None = None, cache: Any = None) -> DecoderOutput:
        x = self.table(text)
        for layer in self.stack:
            x = layer(x)
        return DecoderOutput(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.table.weight.t()


def far(model: Model) -> Any:
    """Weights far from their beginning, so that a mistake shows."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


def walks(model: Model, preprocessor: Any, text: str) -> dict[str, Any]:
    """Every walk that the model offers, taken; each step equals the engine."""
    recipe: Any = SimpleNamespace(objective=resolve("objective", "language_model").Config())
    found = {}
    for offer in walks_for(recipe, model):
        choice = {"layer": 1, "head": min(1, offer.heads)}
        walk = take(model, preprocessor, text, kind=offer.kind, place=offer.place, at=1, **choice)
        checks = [step.check for step in walk.steps if step.check is not None]
        assert checks and max(checks) <= 1e-9, offer
        found[f"{offer.kind} {offer.place}"] = walk
    return found


@pytest.mark.parametrize("kind", [GPT2, MyGPT, Own])
def test_a_language_model(kind: type[Model]) -> None:
    model = far(kind(GPT2Config(**SIZES), Tokens(len(LETTERS))))
    found = walks(model, LETTERS, "he likes")
    assert set(found) == {"attention decoder", "backward decoder", "feedforward decoder"}
    assert sources(model)[1:] == ["tokens", "texts"] and len(depths(model)) == 3
    assert points(model, LETTERS, "texts", TEXTS).vectors.shape == (3, 8)


def test_a_recurrent_one() -> None:
    model = far(MyLSTM(LSTMConfig(d_model=8, n_layers=2, dropout=0.0), Tokens(len(LETTERS))))
    assert set(walks(model, LETTERS, "he likes")) == {"recurrent recurrent"}
    assert max(each.check for each in of_text(model, LETTERS, "he likes", place="recurrent").gradients) <= 1e-12


def test_an_encoder_with_other_parts_under_a_head() -> None:
    spec = Tokens(len(PIECES), PIECES.pad_id)
    body = Variant(BertConfig(**SIZES, d_ff=12), spec)
    model, preprocessor = far(SequenceClassification(body, spec, 2)), LabelledTokenizer(PIECES, ["no", "yes"])
    found = walks(model, preprocessor, "the cat sat")
    assert set(found) == {"attention encoder", "backward encoder", "feedforward encoder"}
    first = found["attention encoder"].steps[0]
    assert first.check is not None and "G_{g_t}" not in first.formula  # it has no segments
    assert "rotary positions" in [step.name for step in found["attention encoder"].steps]
    assert points(model, preprocessor, "tokens", TEXTS, layer="encoder.layers.0").vectors.shape[1] == 8

"""What each layer makes of texts, from the embeddings to the last, in every family that has layers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from clew.config import TokenizerConfig
from clew.errors import DataError, RecipeError
from clew.inputs import TokenPair, Tokens
from clew.inspect.points import points
from clew.inspect.reading import read_together
from clew.inspect.states import depths, states, states_at
from clew.models.bert import BertConfig
from clew.models.gpt2 import GPT2
from clew.models.heads import with_head
from clew.models.llama import Llama
from clew.models.lstm import LSTM
from clew.models.seq2seq import Seq2Seq
from clew.models.t5 import T5
from clew.models.text_classifier import TextClassifier
from clew.models.transformer import Transformer
from clew.models.word2vec import Word2Vec
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair
from clew.text.words import WordVocabulary

TEXTS = ["the cat sat on the mat", "a dog ran", "he likes cats in the park"]
WORDS = Tokenizer.train(TEXTS, TokenizerConfig(kind="word"))
PIECES = Tokenizer.train(TEXTS, TokenizerConfig(kind="wordpiece", vocab_size=60), mask=True)
LETTERS = Tokenizer.train(TEXTS, TokenizerConfig(kind="characters"))
BOTH = TokenizerPair(WORDS, WORDS)
SMALL: dict[str, Any] = {"d_model": 8, "n_heads": 2, "n_layers": 2, "max_length": 32}
T5_SMALL: dict[str, Any] = {"d_model": 8, "d_kv": 4, "d_ff": 12, "n_heads": 2, "n_encoder_layers": 2}


def family(kind: str) -> tuple[Any, Any, str, int]:
    """A model with its tokenizers, the name of its layers, and how many there are."""
    torch.manual_seed(0)
    n = len(WORDS)
    if kind == "bert":
        model = with_head("classify", BertConfig(d_ff=12, **SMALL), Tokens(len(PIECES), PIECES.pad_id), 2)
        return model, LabelledTokenizer(PIECES, ["no", "yes"]), "encoder.layers.{}", 2
    if kind == "gpt2":
        return GPT2(GPT2.Config(**SMALL), Tokens(len(LETTERS))), LETTERS, "layers.{}", 2
    if kind == "llama":
        return Llama(Llama.Config(d_ff=12, n_groups=1, **SMALL), Tokens(len(LETTERS))), LETTERS, "layers.{}", 2
    if kind == "lstm":
        return LSTM(LSTM.Config(d_model=8, n_layers=3), Tokens(len(LETTERS))), LETTERS, "recurrent.l{}", 3
    if kind == "transformer":
        model = Transformer(Transformer.Config(d_model=8, d_ff=12, n_heads=2, n_encoder_layers=2), TokenPair.of(n, n))
        return model, BOTH, "encoder.layers.{}", 2
    if kind == "t5":
        return T5(T5.Config(**T5_SMALL), TokenPair.of(n, n)), BOTH, "encoder.layers.{}", 2
    if kind == "seq2seq":
        return Seq2Seq(Seq2Seq.Config(d_embedding=6, d_model=8, n_layers=2), TokenPair.of(n, n)), BOTH, "encoder.l{}", 2
    model = TextClassifier(TextClassifier.Config(encoder="recurrent", d_embedding=6, d_model=5), Tokens(n), 2)
    return model, LabelledTokenizer(WORDS, ["no", "yes"]), "layer.l{}", 1


FAMILIES = ["bert", "gpt2", "llama", "lstm", "transformer", "t5", "seq2seq", "text_classifier"]


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_layer_of_every_family(kind: str) -> None:
    """The same tokens in each; the last is what the whole model's last layer says, and no two are the same."""
    model, tokenizers, name, n = family(kind)
    known = depths(model)
    assert known[0] == "embeddings" and known[1:] == [known[1].removesuffix("0") + str(k) for k in range(n)]
    assert known[1].endswith(name.format(0))
    found = [points(model, tokenizers, "tokens", TEXTS, layer=depth) for depth in known]
    assert all(each.labels == found[0].labels for each in found)
    default = points(model, tokenizers, "tokens", TEXTS)
    assert (default.vectors == found[-1].vectors).all()
    for lower, upper in pairwise(found):
        assert lower.vectors.shape != upper.vectors.shape or abs(lower.vectors - upper.vectors).max() > 1e-3
    batch = next(iter(read_together(model, tokenizers, TEXTS))).batch
    *_, last = states(model, batch, "token").values()
    torch.testing.assert_close(states_at(model, batch, "token", known[-1]), last)
    assert states_at(model, batch, "text", known[0]).shape == (3, found[0].vectors.shape[1])


@pytest.mark.parametrize("kind", ["lstm", "seq2seq", "text_classifier"])
def test_embeddings_are_rows_of_the_table(kind: str) -> None:
    model, tokenizers, _, _ = family(kind)
    found = points(model, tokenizers, "tokens", TEXTS, layer="embeddings")
    table = next(each for name, each in model.named_parameters() if each.shape[1:] == found.vectors.shape[1:])
    tokenizer = getattr(
        getattr(tokenizers, "source", tokenizers), "tokenizer", getattr(tokenizers, "source", tokenizers)
    )
    rows = [tokenizer.inner.token_to_id(label) for label in found.labels]
    torch.testing.assert_close(torch.from_numpy(found.vectors), table.detach()[rows])


def test_embeddings_hold_their_places() -> None:
    model, tokenizers, _, _ = family("bert")
    found = points(model, tokenizers, "tokens", TEXTS[:1], layer="embeddings")
    the = [k for k, label in enumerate(found.labels) if label == "the"]
    assert len(the) == 2 and abs(found.vectors[the[0]] - found.vectors[the[1]]).max() > 1e-3


def test_what_has_no_layers() -> None:
    word_model = Word2Vec(Word2Vec.Config(d_model=4), WordVocabulary(["the", "cat"], np.array([9, 5])))
    assert depths(word_model) == []
    model, tokenizers, _, _ = family("bert")
    with pytest.raises(RecipeError, match="there are: embeddings, encoder"):
        points(model, tokenizers, "tokens", TEXTS, layer="encoder.layers.2")
    with pytest.raises(DataError, match="no layers"):
        states(word_model, next(iter(read_together(model, tokenizers, TEXTS))).batch, "token")

"""Points of every system: words, tables, tokens in their texts, whole texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clew.config import TokenizerConfig
from clew.errors import DataError, RecipeError
from clew.inputs import TokenPair, Tokens
from clew.inspect.points import points, sources
from clew.inspect.reading import read_together
from clew.models.bert import BertConfig
from clew.models.heads import sentence_vectors, with_head
from clew.models.seq2seq import Seq2Seq
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


def bert(max_length: int = 32) -> Any:
    torch.manual_seed(0)
    config = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=max_length)
    return with_head("classify", config, Tokens(len(PIECES), PIECES.pad_id), 2)


def test_words_and_their_counts() -> None:
    vocabulary = WordVocabulary(["the", "cat", "mat"], np.array([9, 5, 4]))
    model = Word2Vec(Word2Vec.Config(d_model=4), vocabulary)
    assert sources(model) == ["words"]
    found = points(model, vocabulary, "words")
    assert found.labels == vocabulary.words and found.columns["count"] == [9, 5, 4]
    np.testing.assert_array_equal(found.vectors, model.input.detach().numpy())
    few = points(model, vocabulary, "words", most=2)
    assert few.labels == ["the", "cat"] and few.note == "the 2 most frequent of 3 points"


def test_texts_are_the_vectors_of_sentences() -> None:
    model, tokenizers = bert().eval(), LabelledTokenizer(PIECES, ["no", "yes"])
    assert sources(model) == ["encoder.embeddings.token", "tokens", "texts"]
    found = points(model, tokenizers, "texts", TEXTS)
    batch = next(iter(read_together(model, tokenizers, TEXTS))).batch
    np.testing.assert_allclose(found.vectors, sentence_vectors(model.encoder, batch).detach(), atol=1e-6)  # type: ignore[arg-type]
    assert found.labels == TEXTS and not found.note


def test_tokens_know_where_they_stand() -> None:
    model, tokenizers = bert().train(), LabelledTokenizer(PIECES, ["no", "yes"])
    found = points(model, tokenizers, "tokens", TEXTS * 20)
    assert model.training
    assert found.labels[0] == "[CLS]" and found.columns["text"][-1] == 59 and found.columns["place"][0] == 0
    the = [i for i, label in enumerate(found.labels) if label == "the" and found.columns["text"][i] == 0]
    assert len(the) == 2 and not np.allclose(found.vectors[the[0]], found.vectors[the[1]])  # each in its own place
    lower = points(model, tokenizers, "tokens", TEXTS, layer="encoder.layers.0")
    assert not np.allclose(lower.vectors, found.vectors[: len(lower)])
    table = points(model, tokenizers, "encoder.embeddings.token")
    assert len(table) == len(PIECES) and "cat" in table.labels


@pytest.mark.parametrize("kind", ["transformer", "seq2seq"])
def test_a_translators_sources(kind: str) -> None:
    torch.manual_seed(0)
    spec = TokenPair.of(len(WORDS), len(PIECES))
    model: Any = (
        Transformer(Transformer.Config(d_model=8, d_ff=12, n_heads=2, share_embeddings=False), spec)
        if kind == "transformer" else Seq2Seq(Seq2Seq.Config(d_embedding=6, d_model=8), spec)
    )  # fmt: skip
    tokenizers = TokenizerPair(WORDS, PIECES)
    assert sources(model) == ["source_embedding", "target_embedding", "tokens", "texts"]
    assert points(model, tokenizers, "target_embedding").labels == PIECES.tokens(range(len(PIECES)))
    found = points(model, tokenizers, "tokens", TEXTS)
    assert found.labels[:3] == ["▁the", "▁cat", "▁sat"] and found.labels[-1] == "</s>"
    with pytest.raises(DataError, match="no token"):
        points(model, tokenizers, "texts", ["a cat", " "])


def test_a_classifier_of_words() -> None:
    model = TextClassifier(TextClassifier.Config(encoder="recurrent", d_embedding=6, d_model=5), Tokens(len(WORDS)), 2)
    found = points(model, LabelledTokenizer(WORDS, ["no", "yes"]), "texts", TEXTS)
    assert found.vectors.shape == (3, 10)


def test_long_texts_are_cut_and_that_is_said() -> None:
    found = points(bert(8), LabelledTokenizer(PIECES, ["no", "yes"]), "tokens", ["the cat", " ".join(TEXTS)])
    assert found.note == "1 of 2 texts were cut to the model's positions" and found.labels[-1] == "[SEP]"
    assert max(found.columns["place"]) == 7


def test_what_is_not_there() -> None:
    tokenizers = LabelledTokenizer(PIECES, ["no", "yes"])
    with pytest.raises(RecipeError, match=r"there are: encoder\.embeddings\.token, tokens, texts"):
        points(bert(), tokenizers, "words")
    with pytest.raises(RecipeError, match="no layer"):
        points(bert(), tokenizers, "texts", TEXTS, layer="encoder.layers.7")
    with pytest.raises(RecipeError, match="no texts"):
        points(bert(), tokenizers, "texts")

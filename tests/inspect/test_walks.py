"""What walks a run offers, and each of them on a user's own sentence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from clew.config import TokenizerConfig, resolve
from clew.errors import DataError, RecipeError
from clew.inputs import TokenPair, Tokens
from clew.inspect.points import points, sources
from clew.inspect.walks import take, walks_for
from clew.models.bert import BertConfig
from clew.models.encoder_translator import EncoderTranslator
from clew.models.glove import GloVe
from clew.models.gpt2 import GPT2, GPT2Config
from clew.models.heads import with_head
from clew.models.llama import Llama, LlamaConfig
from clew.models.lstm import LSTM, LSTMConfig
from clew.models.seq2seq import Seq2Seq
from clew.models.t5 import T5
from clew.models.text_classifier import TextClassifier
from clew.models.transformer import Transformer
from clew.models.word2vec import Word2Vec
from clew.text.labelled_tokenizer import LabelledTokenizer
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_pair import TokenizerPair
from clew.text.words import WordVocabulary

TEXTS = ["the cat sat on the mat", "a dog ran in the park", "he likes cats"]
WORDS = Tokenizer.train(TEXTS, TokenizerConfig(kind="word"))
PIECES = Tokenizer.train(TEXTS, TokenizerConfig(kind="wordpiece", vocab_size=60), mask=True)


def recipe(objective: str, **settings: Any) -> Any:
    optimizer = resolve("optimizer", "adagrad").Config(lr=0.05)
    objective = resolve("objective", objective).Config(**settings)
    return SimpleNamespace(objective=objective, train=SimpleNamespace(optimizer=optimizer))


def transformer() -> Transformer:
    torch.manual_seed(0)
    return Transformer(
        Transformer.Config(d_model=8, d_ff=12, n_heads=2, n_encoder_layers=1), TokenPair.of(len(WORDS), len(WORDS))
    )


def all_of(model: Any, tokenizers: Any, objective: str, **choice: Any) -> dict[str, Any]:
    """Every walk offered, taken."""
    offers = walks_for(recipe(objective), model)
    assert all(offer.target == (objective == "translation") for offer in offers)
    return {
        f"{offer.kind} {offer.place}".strip(): take(model, tokenizers, kind=offer.kind, place=offer.place, **choice)
        for offer in offers
    }


def close(walks: dict[str, Any]) -> None:
    for name, walk in walks.items():
        checks = [step.check for step in walk.steps if step.check is not None]
        assert checks and max(checks) <= 1e-6, name
        if name.startswith("feedforward"):  # the whole half of a layer is checked, its end too
            assert {"widen", "narrow"} <= {step.name for step in walk.steps if step.check is not None}
            assert walk.steps[-1].check is not None


def test_a_transformer() -> None:
    walks = all_of(transformer(), TokenizerPair(WORDS, WORDS), "translation", text="the cat sat", target="a dog")
    close(walks)
    assert walks["attention encoder"].tokens == ["▁the", "▁cat", "▁sat", "</s>"]
    assert walks["attention decoder"].tokens == walks["attention cross"].tokens == ["<s>", "▁a", "▁dog"]


def test_its_own_translation() -> None:
    walk = take(transformer(), TokenizerPair(WORDS, WORDS), "the cat", kind="attention", place="cross")
    assert walk.tokens[0] == "<s>" and len(walk.tokens) > 1


def test_an_encoder_translator_has_slots() -> None:
    model = EncoderTranslator(
        EncoderTranslator.Config(d_model=8, d_ff=12, n_heads=2), TokenPair.of(len(WORDS), len(WORDS))
    )
    walks = all_of(model, TokenizerPair(WORDS, WORDS), "translation", text="the cat", target="a dog ran in")
    close(walks)
    assert walks["attention encoder"].tokens == ["▁the", "▁cat", "</s>", "(slot)", "(slot)", "[CLS]"]


@pytest.mark.parametrize("head", ["masked_lm", "classify", "tag", "answer"])
def test_bert_under_its_heads(head: str) -> None:
    config = BertConfig(d_model=8, d_ff=12, n_heads=2, n_layers=2, max_length=32)
    model = with_head(head, config, Tokens(len(PIECES), PIECES.pad_id), 2)
    tokenizers = PIECES if head == "masked_lm" else LabelledTokenizer(PIECES, ["no", "yes"])
    walks = all_of(model, tokenizers, "classification", text="the [MASK] sat\ta dog")
    close(walks)
    tokens = walks["attention encoder"].tokens
    assert tokens[0] == "[CLS]" and "[MASK]" in tokens and tokens.count("[SEP]") == 2


@pytest.mark.parametrize("activation", ["relu", "gated_gelu"])
def test_t5(activation: str) -> None:
    """Scores with a bias for each distance, not divided; memory and words as a translator's."""
    torch.manual_seed(0)
    sizes = {"d_model": 8, "d_ff": 12, "n_heads": 2, "d_kv": 3, "n_encoder_layers": 2, "n_decoder_layers": 2}
    model = T5(T5.Config.model_validate({**sizes, "activation": activation}), TokenPair.of(len(WORDS), len(WORDS)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    tokenizers = TokenizerPair(WORDS, WORDS)
    walks = all_of(model, tokenizers, "translation", text="the cat sat", target="a dog", layer=1, head=1)
    close(walks)
    assert {place for _, _, place in (name.partition(" ") for name in walks)} == {"encoder", "decoder", "cross"}
    for place in ("encoder", "decoder"):  # the bias of each distance is looked up anew, and equals the engine's
        step = next(step for step in walks[f"attention {place}"].steps if step.name == "positions")
        assert step.check is not None and step.check <= 1e-12 and "β" in [value.name for value in step.values]
    assert "positions" in [step.name for step in walks["attention cross"].steps]
    assert points(model, tokenizers, "texts", TEXTS).vectors.shape == (3, 8)


@pytest.mark.parametrize("groups", [0, 2, 1])
def test_decoders(groups: int) -> None:
    """GPT-2, and a Llama whose heads have keys of their own, or share them."""
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(kind="characters"))
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"d_model": 8, "n_heads": 2, "n_layers": 2, "max_length": 32}
    model: Any = GPT2(GPT2Config(**sizes), Tokens(len(tokenizer)))
    if groups:
        model = Llama(LlamaConfig(**sizes, d_ff=12, n_groups=groups, rotary_base=500.0), Tokens(len(tokenizer)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    walks = all_of(model, tokenizer, "language_model", text="he\tlikes", layer=1, head=1)
    close(walks)
    assert set(walks) == {"attention decoder", "backward decoder", "feedforward decoder"}
    assert len(walks["attention decoder"].tokens) == 8
    alpha = next(v for step in walks["attention decoder"].steps for v in step.values if v.name == "α")
    assert torch.tensor(alpha.data).triu(1).eq(0).all()
    assert sources(model) == ["token", "tokens", "texts"]
    found = points(model, tokenizer, "tokens", ["the cat", "a" * 40])
    assert found.note.startswith("1 of 2") and len(found) == 7 + 32


def test_a_recurrent_language_model() -> None:
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(kind="characters"))
    torch.manual_seed(0)
    model = LSTM(LSTMConfig(d_model=8, n_layers=2, dropout=0.0), Tokens(len(tokenizer))).eval()
    walks = all_of(model, tokenizer, "language_model", text="the cat", layer=1, at=3)
    close(walks)
    assert set(walks) == {"recurrent recurrent"}


def test_a_model_that_writes_under_a_head() -> None:
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(kind="characters"))
    config = GPT2Config(d_model=8, n_heads=2, n_layers=2, max_length=16, dropout=0.0)
    torch.manual_seed(0)
    model = with_head("classify", config, Tokens(len(tokenizer), tokenizer.pad_id), 1).eval()
    close(all_of(model, LabelledTokenizer(tokenizer, ["reward"]), "reward", text="the cat", at=3))


def test_a_recurrent_translator() -> None:
    model = Seq2Seq(Seq2Seq.Config(d_embedding=6, d_model=8), TokenPair.of(len(WORDS), len(WORDS)))
    walks = all_of(model, TokenizerPair(WORDS, WORDS), "translation", text="the cat", target="a dog ran", at=2)
    close(walks)
    assert set(walks) == {"alignment", "recurrent encoder", "recurrent decoder"}
    assert walks["recurrent decoder"].title.startswith("An LSTM step at “▁dog”")


def test_word_vectors() -> None:
    model = Word2Vec(Word2Vec.Config(d_model=4), WordVocabulary(["the", "cat", "mat", "dog"], np.array([9, 5, 4, 3])))
    with torch.no_grad():
        model.output.normal_()
    close(all_of(model, None, "negative_sampling", text="cat mat dog the"))
    assert not walks_for(recipe("hierarchical_softmax"), model)
    with pytest.raises(RecipeError, match="two words"):
        take(model, None, "cat", kind="skipgram")


def test_other_word_vectors() -> None:
    vocabulary = WordVocabulary(["the", "cat", "mat", "dog", "ran", "sat"], np.array([9, 5, 4, 3, 2, 1]))
    cbow = Word2Vec(Word2Vec.Config(d_model=4, architecture="cbow"), vocabulary)
    with torch.no_grad():
        cbow.output.normal_()
    walks = all_of(cbow, None, "negative_sampling", text="cat mat dog the", at=2)
    close(walks)
    assert "dog" in walks["cbow"].title
    glove = GloVe(GloVe.Config(d_model=4), vocabulary)
    close(all_of(glove, None, "glove", text="cat mat 12"))
    walk = take(glove, None, "cat mat 5", kind="glove", recipe=recipe("glove", x_max=10.0, power=0.5))
    assert "0.05" in next(step.formula for step in walk.steps if step.name == "update")
    weight = next(value.data for step in walk.steps for value in step.values if value.name == "f")
    assert weight == pytest.approx(0.5**0.5)
    for text in ("cat mat", "cat mat dog"):
        with pytest.raises(RecipeError, match="count"):
            take(glove, None, text, kind="glove")


def test_a_classifier_that_attends() -> None:
    settings: dict[str, Any] = {"encoder": "attention", "d_embedding": 6, "d_model": 5}
    model = TextClassifier(TextClassifier.Config(**settings), Tokens(len(WORDS)), 2)
    walks = all_of(model, LabelledTokenizer(WORDS, ["no", "yes"]), "classification", text="the cat sat", at=1)
    close(walks)
    assert set(walks) == {"pooling", "recurrent encoder.layer"}
    assert "no" in walks["pooling"].steps[5].note or "yes" in walks["pooling"].steps[5].note


def test_what_cannot_be_walked() -> None:
    with pytest.raises(RecipeError, match="no walk"):
        take(transformer(), TokenizerPair(WORDS, WORDS), "the cat", kind="dance")
    with pytest.raises(DataError, match="no token"):
        take(transformer(), TokenizerPair(WORDS, WORDS), " ", kind="attention", place="encoder")

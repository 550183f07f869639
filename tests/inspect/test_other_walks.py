"""The walks through an alignment, a recurrent step, a pooling and updates of word vectors: each equals its engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clew.data.batches import Pairs, Texts
from clew.errors import RecipeError, VocabularyError
from clew.inputs import TokenPair, Tokens
from clew.inspect.walk import Walk
from clew.inspect.walks.alignment import alignment_walk
from clew.inspect.walks.cbow import cbow_walk
from clew.inspect.walks.glove import glove_walk
from clew.inspect.walks.pooling import pooling_walk
from clew.inspect.walks.recurrent import recurrent, recurrent_walk
from clew.inspect.walks.skipgram import skipgram_walk
from clew.models.glove import GloVe
from clew.models.seq2seq import Seq2Seq
from clew.models.text_classifier import TextClassifier
from clew.models.word2vec import Word2Vec
from clew.nn.recurrent import WEIGHTS
from clew.objectives.glove import weighted_squares
from clew.text.words import WordVocabulary

IDS = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
SOURCE, WRITTEN, READ = ["a", "b", "c", "</s>"], ["x", "y", "</s>"], ["<s>", "x", "y"]
PAIR = Pairs([[4, 5, 6]], [[7, 8]]).batch([0], **IDS)


def far(model: torch.nn.Module) -> Any:
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def seq2seq(**settings: Any) -> Seq2Seq:
    return far(Seq2Seq(Seq2Seq.Config(**({"d_embedding": 6, "d_model": 8} | settings)), TokenPair.of(19, 19)))


def checks(walk: Walk) -> dict[str, float]:
    return {step.name: step.check for step in walk.steps if step.check is not None}


def values(walk: Walk, name: str) -> torch.Tensor:
    data = [value.data for step in walk.steps for value in step.values if value.name == name][-1]
    return torch.tensor(data, dtype=torch.float64)


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("score", ["additive", "dot", "scaled_dot", "general", "cosine", "scaled_dot projected"])
def test_alignment(score: str, feeding: bool) -> None:
    kind, _, projected = score.partition(" ")
    model = seq2seq(attention={"score": kind, "project": bool(projected)}, input_feeding=feeding)
    walk = alignment_walk(model, PAIR, SOURCE, WRITTEN, at=1)
    found = checks(walk)
    assert {"scores", "softmax", "attentional state"} <= set(found) and max(found.values()) <= 1e-12
    assert values(walk, "α").shape == (3, 4)
    torch.testing.assert_close(values(walk, "α").sum(dim=1), torch.ones(3).double())


def test_no_alignment() -> None:
    with pytest.raises(RecipeError, match="no attention"):
        alignment_walk(seq2seq(attention={"score": "none"}), PAIR, SOURCE, WRITTEN)
    with pytest.raises(RecipeError, match="no target token 3"):
        alignment_walk(seq2seq(), PAIR, SOURCE, WRITTEN, at=3)


@pytest.mark.parametrize("unit", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("feeding", [False, True])
def test_recurrent_steps(unit: str, feeding: bool) -> None:
    """Every layer, direction and token of both sides."""
    model = seq2seq(unit=unit, n_layers=2, input_feeding=feeding)
    assert recurrent(model) == {"encoder": ["l0", "l0_reverse", "l1", "l1_reverse"], "decoder": ["l0", "l1"]}
    for place, layers in recurrent(model).items():
        tokens = SOURCE if place == "encoder" else READ
        for layer in range(len(layers)):
            for at in range(len(tokens)):
                found = checks(recurrent_walk(model, PAIR, tokens, place=place, layer=layer, at=at))
                assert set(found) == {"state"} | {"lstm": {"gates", "cell"}, "gru": {"gates"}, "rnn": set()}[unit]
                assert max(found.values()) <= 1e-12, (place, layer, at)


@pytest.mark.parametrize(("unit", "cell"), [("lstm", torch.nn.LSTMCell), ("gru", torch.nn.GRUCell)])
def test_torchs_own_cell_says_the_same(unit: str, cell: Any) -> None:
    """From what comes in to h', with the layer's weights."""
    model = seq2seq(unit=unit)
    walk = recurrent_walk(model, PAIR, SOURCE, place="encoder", layer=0, at=2)
    x, h = values(walk, "x"), values(walk, "h")
    theirs = cell(len(x), len(h)).double()
    theirs.load_state_dict({part: getattr(model.encoder.fused, f"{part}_l0") for part in WEIGHTS})
    state = (h[None], values(walk, "c")[None]) if unit == "lstm" else h[None]
    out = theirs(x[None], state)
    expected = out[0][0] if unit == "lstm" else out[0]
    torch.testing.assert_close(values(walk, "h'"), expected.detach(), atol=1e-9, rtol=0)
    if unit == "lstm":
        torch.testing.assert_close(values(walk, "c'"), out[1][0].detach(), atol=1e-9, rtol=0)


def test_gates_lie_between_0_and_1_and_rows_are_named() -> None:
    walk = recurrent_walk(seq2seq(), PAIR, SOURCE, place="encoder", layer=1, at=2)
    table = next(value for step in walk.steps for value in step.values if value.name == "gates")
    assert table.row_labels == ["i", "f", "g", "o"] and table.shape == [4, 4]
    gates = torch.tensor(table.data)[[0, 1, 3]]
    assert ((gates > 0) & (gates < 1)).all() and "backward" in walk.title


def test_a_classifier_reads_both_ways() -> None:
    model = far(TextClassifier(TextClassifier.Config(encoder="recurrent", d_embedding=6, d_model=5), Tokens(19), 2))
    batch = Texts([[4, 5, 6]], [0]).batch([0], pad_id=0)
    for layer in range(2):
        found = checks(recurrent_walk(model, batch, "abc", place="encoder.layer", layer=layer, at=1))
        assert max(found.values()) <= 1e-12


def test_no_recurrent_step() -> None:
    with pytest.raises(RecipeError, match=r"encoder \(0 to 1\), decoder \(0 to 0\)"):
        recurrent_walk(seq2seq(), PAIR, SOURCE, place="encoder", layer=2)
    with pytest.raises(RecipeError, match="no token 4"):
        recurrent_walk(seq2seq(), PAIR, SOURCE, place="encoder", at=4)


def word2vec(**settings: Any) -> Word2Vec:
    vocabulary = WordVocabulary(["the", "cat", "mat", "dog", "ran"], np.array([9, 5, 4, 3, 2]))
    return far(Word2Vec(Word2Vec.Config(d_model=4, **settings), vocabulary))


@pytest.mark.parametrize("settings", [{}, {"min_n": 2, "max_n": 3, "buckets": 20}], ids=["words", "n-grams"])
def test_skipgram(settings: dict[str, int]) -> None:
    """The loss, its gradients and the step equal those that torch takes."""
    model = word2vec(**settings)
    walk = skipgram_walk(model, "cat", "mat", negatives=["the", "dog"], rate=0.5)
    assert max(checks(walk).values()) <= 1e-12 and set(checks(walk)) == {step.name for step in walk.steps[1:]}
    v = model.vector(torch.tensor([1])).detach().double().requires_grad_()
    u = model.output[[2, 0, 3]].detach().double().requires_grad_()
    optimizer = torch.optim.SGD([v, u], lr=0.5)
    logits = u @ v[0]
    torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.tensor([1.0, 0, 0]).double(), reduction="sum"
    ).backward()
    optimizer.step()
    torch.testing.assert_close(values(walk, "v'"), v.detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(values(walk, "u'"), u.detach(), atol=1e-6, rtol=0)
    before, after = values(walk, "s"), values(walk, "s'")
    sign = torch.tensor([-1.0, 1, 1]).double()
    assert torch.nn.functional.softplus(sign * after).sum() < torch.nn.functional.softplus(sign * before).sum()


def test_drawn_negatives_are_other_words() -> None:
    walk = skipgram_walk(word2vec(), "cat", "mat", draw=4, seed=3)
    assert walk.tokens[:2] == ["cat", "mat"] and sorted(walk.tokens[2:]) == ["cat", "dog", "ran", "the"]


def test_what_skipgram_lacks() -> None:
    with pytest.raises(VocabularyError, match="bird"):
        skipgram_walk(word2vec(), "bird", "mat")
    with pytest.raises(RecipeError, match="window"):
        skipgram_walk(word2vec(architecture="cbow"), "cat", "mat")
    with pytest.raises(RecipeError, match="9 negatives"):
        skipgram_walk(word2vec(), "cat", "mat", draw=9)


@pytest.mark.parametrize("settings", [{}, {"min_n": 2, "max_n": 3, "buckets": 20}], ids=["words", "n-grams"])
def test_cbow(settings: dict[str, int]) -> None:
    """The mean is the model's own, the loss its objective's; the step is the one that torch takes on h and u."""
    model = word2vec(architecture="cbow", **settings)
    walk = cbow_walk(model, ["the", "cat", "ran", "mat"], 1, negatives=["dog", "the"], rate=0.5)
    assert max(checks(walk).values()) <= 1e-12 and set(checks(walk)) == {step.name for step in walk.steps[1:]}
    h = model.context(torch.tensor([[0, 4, 2]]), torch.ones(1, 3, dtype=torch.bool)).detach()
    torch.testing.assert_close(values(walk, "h").float(), h)
    h = h.double().requires_grad_()
    u = model.output[[1, 3, 0]].detach().double().requires_grad_()
    torch.nn.functional.binary_cross_entropy_with_logits(
        u @ h[0], torch.tensor([1.0, 0, 0]).double(), reduction="sum"
    ).backward()
    torch.testing.assert_close(values(walk, "h'"), (h - 0.5 * h.grad).detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(values(walk, "u'"), (u - 0.5 * u.grad).detach(), atol=1e-6, rtol=0)
    assert walk.tokens == ["the", "cat", "ran", "mat"]


def test_what_cbow_lacks() -> None:
    with pytest.raises(RecipeError, match="around"):
        cbow_walk(word2vec(), ["cat", "mat"], 0)
    for window, at in ((["cat"], 0), (["cat", "mat"], 2)):
        with pytest.raises(RecipeError, match="others around"):
            cbow_walk(word2vec(architecture="cbow"), window, at)
    with pytest.raises(VocabularyError, match="bird"):
        cbow_walk(word2vec(architecture="cbow"), ["cat", "bird"], 0)


@pytest.mark.parametrize("count", [0.5, 12.0, 300.0])
def test_glove(count: float) -> None:
    """Its objective's loss; its step is the first of torch's AdaGrad, whose sums begin at 1."""
    vocabulary = WordVocabulary(["the", "cat", "mat", "dog", "ran"], np.array([9, 5, 4, 3, 2]))
    model = far(GloVe(GloVe.Config(d_model=4), vocabulary))
    walk = glove_walk(model, "cat", "mat", count, rate=0.5)
    assert max(checks(walk).values()) <= 1e-12 and set(checks(walk)) == {step.name for step in walk.steps[1:]}
    model.double()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.5, initial_accumulator_value=1.0, eps=0)
    score = model(torch.tensor([1]), torch.tensor([2]))
    weighted_squares(score, torch.tensor([count]).double(), 100.0, 0.75).sum().backward()
    optimizer.step()
    torch.testing.assert_close(values(walk, "w'")[0], model.word[1].detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(values(walk, "w̃'")[0], model.context[2].detach(), atol=1e-6, rtol=0)
    biases = torch.stack([model.word_bias[1], model.context_bias[2]]).detach()
    torch.testing.assert_close(values(walk, "b', b̃'"), biases, atol=1e-6, rtol=0)
    before, after, wanted = (float(values(walk, name)) for name in ("s", "s'", "log X"))
    assert abs(after - wanted) < abs(before - wanted)
    with pytest.raises(RecipeError, match="logarithm"):
        glove_walk(model, "cat", "mat", 0.0)


@pytest.mark.parametrize("unit", ["lstm", "gru"])
def test_pooling(unit: str) -> None:
    """Shares, vector and answer are the engine's; the gradient of the scores sums to 0."""
    settings: dict[str, Any] = {"encoder": "attention", "unit": unit, "d_embedding": 6, "d_model": 5}
    model = far(TextClassifier(TextClassifier.Config(**settings), Tokens(19), 3))
    batch = Texts([[4, 5, 6, 7]], [0]).batch([0], pad_id=0)
    walk = pooling_walk(model, batch, "abcd", classes=["x", "y", "z"])
    found = checks(walk)
    assert max(found.values()) <= 1e-12
    assert {"keys", "scores", "softmax", "one vector", "classes", "to the shares", "to the scores"} <= set(found)
    model.eval()
    torch.testing.assert_close(values(walk, "P").float(), model(batch).logits[0].softmax(dim=0).detach())
    torch.testing.assert_close(values(walk, "α").sum(), torch.ones(()).double())
    assert abs(float(values(walk, "∂L/∂e").sum())) < 1e-9 < float(values(walk, "∂L/∂e").abs().max())
    with pytest.raises(RecipeError, match="does not attend"):
        pooling_walk(far(TextClassifier(TextClassifier.Config(encoder="mean"), Tokens(19), 2)), batch, "abcd")

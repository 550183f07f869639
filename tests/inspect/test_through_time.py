"""The gradient of a trained recurrent layer is the sum of its paths through time: every unit, layer and direction."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest
import torch

from clew.config import TokenizerConfig
from clew.data.batches import Pairs, Texts
from clew.errors import DataError, RecipeError
from clew.inputs import TokenPair, Tokens
from clew.inspect.through_time import follow, of_text, trace, unroll
from clew.inspect.walks import take
from clew.models.lstm import LSTM
from clew.models.seq2seq import Seq2Seq
from clew.models.text_classifier import TextClassifier
from clew.text.tokenizer import Tokenizer

PAIR = Pairs([[4, 5, 6]], [[7, 8]]).batch([0], pad_id=0, bos_id=1, eos_id=2)
SOURCE, READ = ["a", "b", "c", "</s>"], ["<s>", "x", "y"]


def far(model: Any) -> Any:
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def seq2seq(**settings: Any) -> Seq2Seq:
    return far(Seq2Seq(Seq2Seq.Config(**({"d_embedding": 6, "d_model": 8} | settings)), TokenPair.of(19, 19)))


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize("unit", ["rnn", "lstm", "gru"])
def test_paths_sum_to_autograds_gradient(unit: str, feeding: bool) -> None:
    """Of the input's and the state's map and both biases, of each layer and direction of both sides."""
    model = seq2seq(unit=unit, n_layers=2, input_feeding=feeding)
    for place, layers, tokens in (("encoder", 4, SOURCE), ("decoder", 2, READ)):
        for layer in range(layers):
            found = unroll(model, PAIR, tokens, place=place, layer=layer)
            assert [each.parameter for each in found.gradients] == ["W_i", "W_h", "b_i", "b_h"]
            n = len(tokens)
            for each in found.gradients:
                assert len(each.paths) == n * (n + 1) // 2
                assert each.check <= 1e-12 and each.norm > 1e-6, (place, layer, each.parameter)
                shown = torch.tensor([path.value.data for path in each.paths]).sum(dim=0)
                torch.testing.assert_close(shown, torch.tensor(each.total.data), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("encoder", ["recurrent", "attention"])
def test_a_classifier(encoder: str) -> None:
    model = far(TextClassifier(TextClassifier.Config(encoder=encoder, d_embedding=6, d_model=5), Tokens(19), 2))
    batch = Texts([[4, 5, 6]], [0]).batch([0], pad_id=0)
    for layer in range(2):
        found = unroll(model, batch, "abc", place="encoder.layer", layer=layer)
        assert max(each.check for each in found.gradients) <= 1e-12
    assert found.tokens == ["c", "b", "a"] and "backward" in found.about  # the order in which it reads


def test_a_language_model() -> None:
    """Its loss is the surprise at each next token; both of its layers are walked through and unrolled."""
    tokenizer = Tokenizer.train(["he likes cats"], TokenizerConfig(kind="characters"))
    model = far(LSTM(LSTM.Config(d_model=6, n_layers=2, dropout=0.0), Tokens(len(tokenizer))))
    for layer in range(2):
        found = of_text(model, tokenizer, "he likes", place="recurrent", layer=layer)
        assert max(each.check for each in found.gradients) <= 1e-12 and len(found.tokens) == 8
        walk = take(model, tokenizer, "he likes", kind="recurrent", place="recurrent", layer=layer, at=3)
        assert max(step.check for step in walk.steps if step.check is not None) <= 1e-12


@pytest.mark.parametrize("unit", ["rnn", "lstm", "gru"])
def test_each_path_is_autograds_share(unit: str) -> None:
    """With weights of its own for each step, ∂(G_t·h_t)/∂(weights of step k) is the path (t, k)."""
    seen = trace(seq2seq(unit=unit), PAIR, "encoder", "l0")
    from clew.nn.recurrent import UNITS, WEIGHTS

    copies = [{part: weight.clone().requires_grad_() for part, weight in seen.weights.items()} for _ in seen.x]
    state = tuple(seen.states[0][part][None] for part in UNITS[unit].state)
    for t, own in enumerate(copies):
        made = UNITS[unit].equation(seen.x[t][None], state, *(own[part] for part in WEIGHTS))
        state = tuple(made[part] for part in UNITS[unit].state)
        above = sum((g * part[0]).sum() for g, part in zip(seen.given[t], state, strict=True))
        for k, (local, _) in enumerate(follow(seen)[t]):
            share = torch.autograd.grad(above, [copies[k][part] for part in WEIGHTS], retain_graph=True)
            ours = (torch.outer(local.to_x, seen.x[k]), torch.outer(local.to_h, seen.states[k]["h"]),
                    local.to_x, local.to_h)  # fmt: skip
            for mine, theirs in zip(ours, share, strict=True):
                torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=0)


def test_the_graph_and_its_numbers() -> None:
    found = unroll(seq2seq(), PAIR, SOURCE, place="encoder", layer=0)
    ids = [node.id for node in found.nodes]
    assert len({*ids}) == len(ids) and {"G_1", "c_4", "a_2", "h_0", "c_0", "W_h"} <= {*ids}
    joined = {(edge.source, edge.target) for edge in found.edges}
    assert {end for pair in joined for end in pair} == {*ids}
    path = next(path for path in found.gradients[1].paths if (path.t, path.k) == (3, 2))
    assert path.nodes == ["G_3", "h_3", "c_3", "a_3", "h_2", "c_2", "a_2", "W_h"]
    assert path.nodes[-1] == "W_h" and (path.nodes[-1], "a_2") in joined
    assert path.chain.endswith(r"\frac{\partial s_{2}}{\partial a_{2}}\frac{\partial a_{2}}{\partial W_h}")
    assert found.flow[0][1:] == [None] * 3 and all(value is not None for value in found.flow[3])
    assert len(found.through) == 4 and json.dumps(asdict(found), allow_nan=False)
    simple = unroll(seq2seq(unit="rnn"), PAIR, SOURCE, place="encoder").gradients[1].paths[-2]
    assert all((b, a) in {("h_4", "G_4"), ("a_4", "h_4"), ("h_3", "a_4"), ("a_3", "h_3"), ("W_h", "a_3")}
               for a, b in pairwise(simple.nodes))  # fmt: skip


def test_what_cannot_be_unrolled() -> None:
    with pytest.raises(RecipeError, match=r"encoder \(0 to 1\), decoder \(0 to 0\)"):
        unroll(seq2seq(), PAIR, SOURCE, place="encoder", layer=2)
    with pytest.raises(DataError, match="17 steps"):
        unroll(seq2seq(), PAIR, ["a"] * 17, place="encoder")

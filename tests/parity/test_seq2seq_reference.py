"""Seq2seq against a reference of nn.LSTMCell, explicit loops over rows, directions and positions, and no padding."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from clew.batches import PairBatch
from clew.data.batches import Pairs
from clew.inputs import TokenPair
from clew.models.seq2seq import Seq2Seq, Seq2SeqConfig

W = dict[str, Tensor]
Pair = tuple[Tensor, Tensor]

# the score of one query (d,) and one key (d,), from the papers
SCORES: dict[str, Callable[[W, Tensor, Tensor], Tensor]] = {
    "dot": lambda w, q, k: q @ k,
    "scaled_dot": lambda w, q, k: q @ k / math.sqrt(len(q)),
    "general": lambda w, q, k: q @ w["attention.score.W.weight"] @ k,
    "additive": lambda w, q, k: (
        w["attention.score.v.weight"][0]
        @ torch.tanh(
            w["attention.score.W.weight"] @ q + w["attention.score.U.weight"] @ k + w["attention.score.U.bias"]
        )
    ),
    "cosine": lambda w, q, k: w["attention.score.log_temperature"].exp() * (q @ k) / (q.norm() * k.norm()),
}


def cell(w: W, prefix: str, suffix: str, x: Tensor, state: Pair) -> Pair:
    """One step of torch's cell with the weights of one layer and direction."""
    weights = {kind: w[f"{prefix}.fused.{kind}_{suffix}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    return functional_call(nn.LSTMCell(len(x), len(state[0])), weights, (x, state))


def read(w: W, suffix: str, inputs: list[Tensor]) -> tuple[list[Tensor], Pair]:
    h = c = inputs[0].new_zeros(w[f"encoder.fused.weight_hh_{suffix}"].shape[1])
    outputs = []
    for x in inputs:
        h, c = cell(w, "encoder", suffix, x, (h, c))
        outputs.append(h)
    return outputs, (h, c)


def reference(w: W, score: str, input_feeding: bool, source: list[int], target: list[int]) -> Tensor:
    """h̃ of one unpadded sentence pair; two layers, bidirectional encoder."""
    states, ends = [w["source_embedding.weight"][i] for i in source], []
    for layer in ("l0", "l1"):
        forth, (h_forth, c_forth) = read(w, layer, states)
        back, (h_back, c_back) = read(w, f"{layer}_reverse", states[::-1])
        states = [torch.cat(pair) for pair in zip(forth, back[::-1], strict=True)]
        ends.append((torch.cat([h_forth, h_back]), torch.cat([c_forth, c_back])))
    bridged = [
        tuple(torch.tanh(w[f"bridge.{i}.weight"] @ part + w[f"bridge.{i}.bias"]) for i, part in enumerate(end))
        for end in ends
    ]
    fed, out = states[0].new_zeros(len(states[0])), []
    for token in target:
        x = w["target_embedding.weight"][token]
        if input_feeding:
            x = torch.cat([x, fed])
        for layer in range(2):
            bridged[layer] = cell(w, "decoder", f"l{layer}", x, bridged[layer])
            x = bridged[layer][0]
        if score == "none":
            context = ends[-1][0]
        else:
            weights = torch.stack([SCORES[score](w, x, key) for key in states]).softmax(0)
            context = sum(weight * state for weight, state in zip(weights, states, strict=True))
        fed = torch.tanh(w["attention.combine.weight"] @ torch.cat([context, x]) + w["attention.combine.bias"])
        out.append(fed)
    return torch.stack(out)


@pytest.mark.parametrize("input_feeding", [False, True], ids=["parallel", "input feeding"])
@pytest.mark.parametrize("score", ["none", *SCORES])
def test_hidden_states_and_gradients(score: str, input_feeding: bool) -> None:
    torch.manual_seed(0)
    config = Seq2SeqConfig(
        d_embedding=5, d_model=6, n_layers=2, dropout=0.0, attention={"score": score}, input_feeding=input_feeding
    )
    model = Seq2Seq(config, TokenPair.of(9, 10)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    pairs = Pairs([[4, 5, 6], [7], [8, 3, 8, 4, 5]], [[5, 4, 9, 6], [7, 6], [8]])
    batch: PairBatch = pairs.batch([0, 1, 2], pad_id=0, bos_id=1, eos_id=2)
    hidden = model(batch).hidden
    w = {name: parameter.detach().clone().requires_grad_() for name, parameter in model.named_parameters()}
    total, expected = hidden.new_zeros(()), hidden.new_zeros(())
    for row in range(3):
        source = batch.source[row][batch.source_mask[row]].tolist()
        target = batch.target_in[row][batch.target_mask[row]].tolist()
        one = reference(w, score, input_feeding, source, target)
        torch.testing.assert_close(hidden[row, : len(target)], one, atol=1e-9, rtol=1e-9)
        total, expected = total + hidden[row, : len(target)].square().sum(), expected + one.square().sum()
    names = [name for name in w if "projection" not in name]
    total.backward()
    expected_gradients = torch.autograd.grad(expected, [w[name] for name in names])
    for name, gradient in zip(names, expected_gradients, strict=True):
        torch.testing.assert_close(model.get_parameter(name).grad, gradient, atol=1e-9, rtol=1e-9)

"""Backpropagation through time: every path equals autograd's share, every gradient its sum, by torch's own RNN too."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise

import pytest
import torch

from clew.errors import DataError
from clew.inspect.bptt import RNN, Unrolled, backward, by_autograd, forward, of_sentence, paths_of, unroll

N, D_X, D, CLASSES = 4, 3, 2, 5


def problem(n: int = N, seed: int = 0) -> tuple[RNN, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, D_X, generator=generator, dtype=torch.float64)
    y = torch.randint(CLASSES, (n,), generator=generator)
    return RNN.drawn(D_X, D, CLASSES, seed), x, y, torch.randn(D, generator=generator, dtype=torch.float64)


def tensor(value: object) -> torch.Tensor:
    return torch.tensor(value.data, dtype=torch.float64)  # type: ignore[attr-defined]


def test_the_textbook_case() -> None:
    """Four steps: ten paths each for U, W and b, four for V and c; sums equal autograd's."""
    rnn, x, y, h_0 = problem()
    found = unroll(rnn, x, y, h_0=h_0, tokens="abcd")
    assert {each.parameter: len(each.paths) for each in found.gradients} == {"U": 10, "W": 10, "V": 4, "b": 10, "c": 4}
    for each in found.gradients:
        assert each.check <= 1e-6 and each.norm > 1e-3
        torch.testing.assert_close(sum(tensor(path.value) for path in each.paths), tensor(each.total))


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_every_path_is_autograds_share(n: int) -> None:
    """With a copy of each parameter for each step, ∂L_t/∂(copy k) is the path (t, k)."""
    rnn, x, y, h_0 = problem(n)
    copies = [{name: part.clone().requires_grad_() for name, part in rnn.named().items()} for _ in range(n)]
    h, losses = h_0, []
    for t, own in enumerate(copies):
        h = torch.tanh(own["U"] @ x[t] + own["W"] @ h + own["b"])
        losses.append(torch.nn.functional.cross_entropy(own["V"] @ h + own["c"], y[t]))
    states = forward(rnn, x, y, h_0)
    errors, _, deltas = backward(rnn, states, y)
    for name in rnn.named():
        for t, k, value in paths_of(name, x, states, errors, deltas):
            share = torch.autograd.grad(losses[t], copies[k][name], retain_graph=True)[0]
            torch.testing.assert_close(value, share, atol=1e-10, rtol=0)


def test_torchs_own_rnn_agrees() -> None:
    rnn, x, y, h_0 = problem()
    module, head = torch.nn.RNN(D_X, D, dtype=torch.float64), torch.nn.Linear(D, CLASSES, dtype=torch.float64)
    with torch.no_grad():
        for parameter, value in ((module.weight_ih_l0, rnn.U), (module.weight_hh_l0, rnn.W), (module.bias_ih_l0, rnn.b),
                                 (module.bias_hh_l0, 0 * rnn.b), (head.weight, rnn.V), (head.bias, rnn.c)):  # fmt: skip
            parameter.copy_(value)
    out, _ = module(x, h_0[None])
    torch.nn.functional.cross_entropy(head(out), y, reduction="sum").backward()
    ours = by_autograd(rnn, x, y, h_0)
    theirs = {
        "U": module.weight_ih_l0,
        "W": module.weight_hh_l0,
        "b": module.bias_ih_l0,
        "V": head.weight,
        "c": head.bias,
    }
    for name, parameter in theirs.items():
        torch.testing.assert_close(ours[name], parameter.grad)


def test_norms_over_time() -> None:
    """‖∂L_t/∂h_k‖ by autograd, and how a small W lets it vanish."""
    rnn, x, y, h_0 = problem()
    found = unroll(rnn, x, y, h_0=h_0, tokens="abcd")
    states = [h_0.clone().requires_grad_()]
    leaf = []
    for x_t in x:
        leaf.append(torch.tanh(rnn.U @ x_t + rnn.W @ states[-1] + rnn.b))
        states.append(leaf[-1])
    loss = torch.stack([torch.nn.functional.cross_entropy(rnn.V @ h + rnn.c, t) for h, t in zip(leaf, y, strict=True)])
    for t in range(N):
        shares = torch.autograd.grad(loss[t], leaf[: t + 1], retain_graph=True)
        assert found.flow[t][: t + 1] == pytest.approx([float(share.norm()) for share in shares])
        assert found.flow[t][t + 1 :] == [None] * (N - t - 1)
    whole = torch.autograd.grad(loss.sum(), leaf)
    assert found.through == pytest.approx([float(share.norm()) for share in whole])
    small = RNN(rnn.U, 0.1 * rnn.W, rnn.V, rnn.b, rnn.c)
    last = [value for value in unroll(small, x, y, tokens="abcd").flow[-1] if value is not None]
    assert all(later > 4 * earlier for earlier, later in pairwise(last))


def test_symbols_of_a_path() -> None:
    found = of_sentence("he likes black cats")
    W = {(path.t, path.k): path for path in next(g for g in found.gradients if g.parameter == "W").paths}
    path = W[3, 2]
    assert path.nodes == ["L_3", "o_3", "h_3", "a_3", "h_2", "a_2", "W"]
    assert path.product == (
        r"\mathrm{diag}(1 - h_{2}^2)\,W^\top \mathrm{diag}(1 - h_{3}^2)\,V^\top (\hat y_{3} - y_{3})\,h_{1}^\top"
    )
    assert path.chain == (
        r"\frac{\partial L_{3}}{\partial o_{3}}\frac{\partial o_{3}}{\partial h_{3}}"
        r"\frac{\partial h_{3}}{\partial h_{2}}"
        r"\frac{\partial h_{2}}{\partial a_{2}}\frac{\partial a_{2}}{\partial W}"
    )


def check_graph(found: Unrolled) -> None:
    ids = [node.id for node in found.nodes]
    assert len(set(ids)) == len(ids)
    assert {end for edge in found.edges for end in (edge.source, edge.target)} == set(ids)
    joined = {(edge.source, edge.target) for edge in found.edges}
    for gradient in found.gradients:
        for path in gradient.paths:  # a path runs along edges, backward
            assert all((b, a) in joined for a, b in pairwise(path.nodes))


def test_the_graph() -> None:
    found = of_sentence("he likes black cats", seed=3)
    check_graph(found)
    assert sum(edge.through_time for edge in found.edges) == 4
    assert found.targets == ["likes", "black", "cats", "</s>"]
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["tokens"] == ["he", "likes", "black", "cats"]
    check_graph(of_sentence("a b a c"))  # a word twice


@pytest.mark.parametrize("sentence", ["", "w " * 17])
def test_lengths(sentence: str) -> None:
    with pytest.raises(DataError, match="steps"):
        of_sentence(sentence)

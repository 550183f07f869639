"""Attention: the golden figures, each score against loops, the equation path against the fused one, cached steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clew.nn.attention import MultiHeadAttention, Projected, ScaledDot, Score, attend, make_score
from clew.nn.attention_engine import KeyValues
from clew.nn.packing import Packing, Padded
from clew.nn.taps import capture

SCORES = ["dot", "scaled_dot", "general", "additive", "cosine"]


def test_golden_figures() -> None:
    """x = "he likes cats" in two dimensions, with given Wq and Wk: the weights, and the variance that √d_k removes."""
    x = torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.5, 1.5]])
    query = x @ torch.tensor([[0.5, 2.0], [3.0, 1.5]])
    key = x @ torch.tensor([[1.0, 0.4], [0.6, 1.2]])
    _, weights = attend(query, key, x, None, ScaledDot())
    expected = [[0.5047, 0.1876, 0.3077], [0.6624, 0.0915, 0.2461], [0.5874, 0.1331, 0.2796]]
    torch.testing.assert_close(weights, torch.tensor(expected), atol=5e-5, rtol=0)
    ratio = make_score("dot", 2, 2)(query, key).var() / ScaledDot()(query, key).var()
    assert ratio.item() == pytest.approx(2.0)


def by_loop(score: Score, query: Tensor, key: Tensor) -> Tensor:
    """The score of each pair of one query (d_q,) and one key (d_k,), from the papers."""
    w = dict(score.named_parameters())
    one: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "Dot": lambda q, k: sum(a * b for a, b in zip(q, k, strict=True)),
        "ScaledDot": lambda q, k: sum(a * b for a, b in zip(q, k, strict=True)) / math.sqrt(len(q)),
        "General": lambda q, k: q @ (w["W.weight"] @ k),
        "Additive": lambda q, k: w["v.weight"][0] @ torch.tanh(w["W.weight"] @ q + w["U.weight"] @ k + w["U.bias"]),
        "Cosine": lambda q, k: w["log_temperature"].exp() * (q @ k) / (q.norm() * k.norm()),
    }
    return torch.stack([torch.stack([one[type(score).__name__](q, k) for k in key]) for q in query])


def made(kind: str, d_query: int = 4, d_key: int = 4) -> Score:
    torch.manual_seed(0)
    score = make_score(kind, d_query, d_key).double()
    for parameter in score.parameters():
        nn.init.normal_(parameter)
    return score


@pytest.mark.parametrize("kind", SCORES)
def test_scores_by_loop_and_by_finite_differences(kind: str) -> None:
    score, query, key = made(kind), torch.randn(2, 3, 4).double(), torch.randn(2, 5, 4).double()
    found = score(query, score.prepare(key))
    expected = torch.stack([by_loop(score, q, k) for q, k in zip(query, key, strict=True)])
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    mask = torch.rand(2, 3, 5) > 0.3
    mask[:, :, 0] = True
    value = torch.randn(2, 5, 3).double()
    inputs = [part.requires_grad_() for part in (query, key, value)]
    names, weights = [name for name, _ in score.named_parameters()], list(score.parameters())

    def context(q: Tensor, k: Tensor, v: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(
            Around(score), {f"score.{n}": p for n, p in zip(names, parameters, strict=True)}, (q, k, v, mask)
        )

    assert torch.autograd.gradcheck(context, (*inputs, *weights))


class Around(nn.Module):
    """`attend` with a score whose parameters can be replaced."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.score = score

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return attend(q, self.score.prepare(k), v, mask, self.score)[0]


def test_scores_of_unlike_widths() -> None:
    for kind in ("general", "additive"):
        score, query, key = made(kind, 3, 5), torch.randn(2, 3).double(), torch.randn(4, 5).double()
        torch.testing.assert_close(score(query, score.prepare(key)), by_loop(score, query, key))
    for kind in ("dot", "scaled_dot", "cosine"):
        with pytest.raises(ValueError, match="query 3 and key 5"):
            make_score(kind, 3, 5)


def test_attend_masks_and_sums_to_one() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, False, True], [True, True, True]])
    query, key, value = torch.randn(2, 4), torch.randn(3, 4), torch.randn(3, 2)
    context, weights = attend(query, key, value, mask, ScaledDot())
    assert weights[0, 1] == 0
    torch.testing.assert_close(weights.sum(-1), torch.ones(2))
    alone, _ = attend(query[:1], key[[0, 2]], value[[0, 2]], None, ScaledDot())
    torch.testing.assert_close(context[:1], alone)


# The equation and the engine.


def attention(**settings: object) -> MultiHeadAttention:
    torch.manual_seed(0)
    module = MultiHeadAttention(8, 2, **settings)  # type: ignore[arg-type]
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def padded(batch: int, length: int) -> Tensor:
    """A mask (batch, 1, 1, length) of rows of different lengths."""
    return (torch.arange(length) <= torch.arange(batch)[:, None])[:, None, None, :]


CASES = {
    "no mask": lambda: {},
    "padding": lambda: {"mask": padded(3, 5)},
    "each query its own": lambda: {"mask": torch.rand(3, 1, 5, 5).argsort(-1) < 3},
    "each head its own": lambda: {"mask": torch.rand(3, 2, 5, 5).argsort(-1) < 2},
    "causal": lambda: {"causal": True},
}


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_equation_equals_engine(case: str, rotary: bool) -> None:
    """The same outputs and the same gradients, of the inputs and of every parameter."""
    module, options = attention(rotary=rotary).double(), CASES[case]()
    x = torch.randn(3, 5, 8).double()
    results = []
    for heard in (False, True):
        module.zero_grad()
        query = x.clone().requires_grad_()
        if heard:
            with capture(module, "weights") as seen:
                out = module(query, query, **options)
        else:
            out = module(query, query, **options)
        out.square().sum().backward()
        results.append([out, query.grad, *(parameter.grad.clone() for parameter in module.parameters())])
    for fused, equation in zip(*results, strict=True):
        torch.testing.assert_close(fused, equation, atol=1e-9, rtol=1e-9)
    (weights,) = seen["weights"]
    assert weights.shape == (3, 2, 5, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 5).double())
    allowed = options.get("mask", torch.ones(5, 5, dtype=torch.bool)).expand(3, 2, 5, 5)
    assert not weights[~allowed].any()
    if case == "causal":
        assert not weights.triu(1).any()


def test_multi_head_by_loop() -> None:
    """Concat(head_1, head_2) W_o, each head projected by its own rows of the weights."""
    module, x, memory = attention(), torch.randn(2, 3, 8), torch.randn(2, 4, 8)
    heads = []
    for h in range(2):
        rows = slice(4 * h, 4 * h + 4)
        q = x @ module.query.weight[rows].T + module.query.bias[rows]
        k = memory @ module.key.weight[rows].T + module.key.bias[rows]
        v = memory @ module.value.weight[rows].T + module.value.bias[rows]
        heads.append((q @ k.transpose(1, 2) / 2.0).softmax(-1) @ v)
    expected = torch.cat(heads, -1) @ module.output.weight.T + module.output.bias
    torch.testing.assert_close(module(x, memory), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="not a multiple"):
        MultiHeadAttention(8, 3)


def test_attention_dropout_on_both_paths() -> None:
    """Off in evaluation; in training both paths drop weights, with the expectation of the whole."""
    module, x = attention(dropout=0.5), torch.randn(1, 6, 8)
    whole = module.eval()(x, x)
    torch.testing.assert_close(module(x, x), whole)
    module.train()
    many = x.expand(4000, -1, -1)
    fused = module(many, many)
    with capture(module, "weights"):
        equation = module(many, many)
    for out in (fused, equation):
        assert not torch.allclose(out[:1], whole, atol=1e-3)
        torch.testing.assert_close(out.mean(0, keepdim=True), whole, atol=0.15, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)))
def test_permutation_equivariance(order: list[int]) -> None:
    """Without positions, self-attention of shuffled tokens is the shuffled self-attention; with rotary ones not."""
    x = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    for rotary in (False, True):
        module = attention(rotary=rotary)
        same = torch.allclose(module(x[:, order], x[:, order]), module(x, x)[:, order], atol=1e-5)
        # Rotary scores depend on distances, which a reversal flips in sign and a shuffle of any other kind changes.
        assert same is (not rotary or order == sorted(order))


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("heard", [False, True])
def test_steps_equal_parallel(rotary: bool, heard: bool) -> None:
    module, x, past = attention(rotary=rotary), torch.randn(3, 6, 8), KeyValues()
    whole = module(x, x, causal=True)
    listening = capture(module, "weights") if heard else capture(module)
    with listening as seen:
        steps = torch.cat([module.step(x[:, t : t + 1], past) for t in range(6)], dim=1)
    torch.testing.assert_close(steps, whole, atol=1e-5, rtol=1e-5)
    assert past.length == 6
    if heard:
        assert [w.shape[-1] for w in seen["weights"]] == [1, 2, 3, 4, 5, 6]


def test_selected_rows_go_on_as_their_own_past() -> None:
    module, x, past = attention(), torch.randn(3, 3, 8), KeyValues()
    past.select(torch.tensor([0]))  # nothing yet: nothing to move
    for t in range(2):
        module.step(x[:, t : t + 1], past)
    rows = torch.tensor([2, 0, 0, 1])
    past.select(rows)
    x = x[rows]
    torch.testing.assert_close(module.step(x[:, 2:], past), module(x, x, causal=True)[:, 2:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("beam", [1, 3])
def test_look_equals_parallel(beam: int, heard: bool) -> None:
    """The hypotheses of a sentence share its projected memory."""
    module, memory, query = attention(), torch.randn(3, 5, 8), torch.randn(3 * beam, 1, 8)
    mask = padded(3, 5)
    whole = module(query, memory.repeat_interleave(beam, 0), mask.repeat_interleave(beam, 0))
    with capture(module, "weights") if heard else capture(module) as seen:
        looked = module.look(query, *module.keys_values(memory), mask)
    torch.testing.assert_close(looked, whole, atol=1e-5, rtol=1e-5)
    if heard:
        assert seen["weights"][0].shape == (3, 2, beam, 5)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("how", ["runs", "padded", "heard"])
def test_packed_equals_forward(how: str, rotary: bool) -> None:
    """Each row of an unpadded batch attends as it does in the padded one, from its own places; of some tokens too."""
    module, x = attention(rotary=rotary).double(), torch.randn(4, 6, 8).double()
    mask = torch.arange(6) < torch.tensor([3, 6, 1, 3])[:, None]
    packing = (Padded if how == "padded" else Packing)(mask)
    whole = packing.pack(module(x, x, mask[:, None, None, :]))
    only = torch.tensor([5, 0, 9])
    with capture(module, "weights") if how == "heard" else capture(module) as seen:
        found, some = module.packed(packing.pack(x), packing), module.packed(packing.pack(x), packing, only)
    torch.testing.assert_close(found, whole)
    torch.testing.assert_close(some, whole[only])
    assert len(seen.get("weights", ())) == (2 if how == "heard" else 0)


@pytest.mark.parametrize("heard", [False, True])
def test_causal_attention_to_a_past(heard: bool) -> None:
    """Several new positions see all of the past and one another up to themselves; no mask need say so."""
    module, x = attention(rotary=True), torch.randn(2, 6, 8)
    past = torch.empty(2, 2, 2, 6, 4)
    with capture(module, "weights") if heard else capture(module):
        parts = module.causal(x[:, :2], past=past[:, :, :, :2]), module.causal(x[:, 2:], past=past)
    torch.testing.assert_close(torch.cat(parts, dim=1), module(x, x, causal=True), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 1e-9])
@pytest.mark.parametrize("heard", [False, True])
def test_a_mask_holds_for_causal_attention_too(heard: bool, dropout: float) -> None:
    """By torch's kernel, and by the equation, which is taken on the CPU where weights drop out under a mask."""
    module, x, mask = attention(dropout=dropout), torch.randn(3, 5, 8), padded(3, 5)
    with capture(module, "weights") if heard else capture(module):
        found = module(x, x, mask, causal=True)
    both = mask & torch.ones(5, 5, dtype=torch.bool).tril()
    torch.testing.assert_close(found, module.eval()(x, x, both), atol=1e-5, rtol=1e-5)


def test_rotary_attention_does_not_look_at_keys_without_places() -> None:
    module, memory = attention(rotary=True), torch.randn(3, 5, 8)
    with pytest.raises(ValueError, match="not turned"):
        module.look(torch.randn(3, 1, 8), *module.keys_values(memory), padded(3, 5))


def test_bf16_stays_close() -> None:
    module, x = attention(), torch.randn(2, 5, 8)
    whole = module(x, x, padded(2, 5))
    with torch.autocast("cpu", torch.bfloat16):
        lower = module(x, x, padded(2, 5))
        with capture(module, "weights"):
            heard = module(x, x, padded(2, 5))
    assert lower.dtype == torch.bfloat16
    torch.testing.assert_close(lower.float(), whole, atol=0.1, rtol=0.05)
    torch.testing.assert_close(heard.float(), whole, atol=0.1, rtol=0.05)


def test_projected_scores_compare_maps_of_both_states() -> None:
    torch.manual_seed(0)
    score = Projected(ScaledDot(), 4, gain=2.0)
    query, key = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    # As it begins: twice the identity on either side.
    torch.testing.assert_close(score(query, score.prepare(key)), 4 * ScaledDot()(query, key))
    for parameter in score.parameters():
        nn.init.normal_(parameter)
    mapped = ScaledDot()(query @ score.W_q.weight.T, key @ score.W_k.weight.T)
    torch.testing.assert_close(score(query, score.prepare(key)), mapped)
    score(query, score.prepare(key)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in score.parameters())

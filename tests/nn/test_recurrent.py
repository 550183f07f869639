"""The recurrent units and the layer: equation path = torch's fused kernels, with the same parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from clew.nn.recurrent import UNITS, Recurrent, State
from clew.nn.taps import capture

SHAPES = {"one": (1, False), "stacked": (3, False), "both ways": (1, True), "stacked, both ways": (2, True)}


def make(unit: str, shape: str, dtype: torch.dtype = torch.float64) -> Recurrent:
    torch.manual_seed(0)
    n_layers, bidirectional = SHAPES[shape]
    layer = Recurrent(unit, 5, 7, n_layers, bidirectional=bidirectional).to(dtype)
    for parameter in layer.parameters():  # biases start at zero, where a missing one would not be seen
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def equation(
    layer: Recurrent, x: Tensor, mask: Tensor | None = None, state: State | None = None
) -> tuple[Tensor, State]:
    return layer.by_layer(x, mask, state, layer.by_equation)


PATHS = {"equation": equation, "module": Recurrent.by_module, "chosen": Recurrent.forward}


def run(
    layer: Recurrent, by: Callable[..., tuple[Tensor, State]], x: Tensor, mask: Tensor | None, with_state: bool
) -> list[Tensor]:
    """Output, last state, and the gradients of a function of all of them: input's, state's and parameters'."""
    rows = layer.fused.num_layers * (2 if layer.fused.bidirectional else 1)
    generator = torch.Generator().manual_seed(1)
    state = tuple(torch.randn(rows, len(x), 7, generator=generator).to(x).requires_grad_() for _ in layer.unit.state)
    x = x.clone().requires_grad_()
    output, last = by(layer, x, mask, state if with_state else None)
    loss = sum((part * torch.linspace(-1, 1, part.numel()).to(part).view_as(part)).sum() for part in (output, *last))
    wrt = [x, *layer.parameters(), *(state if with_state else ())]
    return [output, *last, *torch.autograd.grad(loss, wrt)]


def right_padding(lengths: list[int]) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["full", "packed"])
@pytest.mark.parametrize("with_state", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("unit", UNITS)
def test_all_paths_are_equal(unit: str, shape: str, with_state: bool, masked: bool, dtype: torch.dtype) -> None:
    """The equation, torch's module (packed where masked), and the kernels chosen here: values and gradients."""
    layer = make(unit, shape, dtype)
    mask = right_padding([3, 6, 1, 5]) if masked else None
    x = torch.randn(4, 6, 5, dtype=dtype)
    reference = run(layer, PATHS["equation"], x, mask, with_state)
    for path, training in (("module", True), ("chosen", True), ("chosen", False)):
        other = run(layer.train(training), PATHS[path], x, mask, with_state)
        for a, b in zip(reference, other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=1e-5)


@pytest.mark.parametrize("unit", UNITS)
def test_unit_gradients_by_finite_differences(unit: str) -> None:
    layer = make(unit, "one")
    state = tuple(torch.randn(2, 7, dtype=torch.float64, requires_grad=True) for _ in UNITS[unit].state)
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)

    def step(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        return tuple(UNITS[unit].equation(x, rest[: len(state)], *rest[len(state) :]).values())

    assert torch.autograd.gradcheck(step, (x, *state, *layer.fused.parameters()))


def test_lstm_unit_on_one_number() -> None:
    """Every weight 1, every bias 0, x = 1, h = 2, c = 3: all gates see 3."""
    one, zero = torch.ones(4, 1), torch.zeros(4)
    x, h, c = torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([[3.0]])
    seen = UNITS["lstm"].equation(x, (h, c), one, one, zero, zero)
    sigma, tanh = 0.9525741268, 0.9950547537
    new_c = sigma * 3 + sigma * tanh
    expected = {"i": sigma, "f": sigma, "g": tanh, "o": sigma, "c": new_c, "h": sigma * math.tanh(new_c)}
    assert {name: value.item() for name, value in seen.items()} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("unit", UNITS)
def test_listening_takes_the_equation_path(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make(unit, "stacked, both ways", torch.float32)
    x, mask = torch.randn(2, 4, 5), right_padding([4, 2])
    taken: list[str] = []
    by_equation = layer.by_equation
    monkeypatch.setattr(
        layer, "by_equation", lambda *args, reverse: taken.append(args[-1]) or by_equation(*args, reverse=reverse)
    )
    fused, _ = layer(x, mask)
    assert not taken
    with capture(layer, "taps.*") as seen:
        output, _ = layer(x, mask)
    assert taken == ["l0", "l0_reverse", "l1", "l1_reverse"]
    torch.testing.assert_close(output, fused, atol=1e-5, rtol=1e-5)
    names = [f"taps.{row}.{tap}" for row in ("l0", "l0_reverse", "l1", "l1_reverse") for tap in UNITS[unit].taps]
    assert [name for name in names if name in seen] == names
    assert {tuple(values[0].shape) for name, values in seen.items() if name in names} == {(2, 4, 7)}
    top = torch.cat([seen["taps.l1.h"][0], seen["taps.l1_reverse.h"][0]], dim=-1)
    torch.testing.assert_close(top, output)


@pytest.mark.parametrize("by", PATHS)
@pytest.mark.parametrize("unit", UNITS)
def test_padding_changes_nothing(unit: str, by: str) -> None:
    layer = make(unit, "stacked, both ways")
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    mask = right_padding([6, 4])
    output, last = PATHS[by](layer, x, mask, None)
    alone, alone_last = PATHS[by](layer, x[1:, :4], None, None)
    torch.testing.assert_close(output[1:, :4], alone)
    assert not output[1, 4:].any()
    for padded, unpadded in zip(last, alone_last, strict=True):
        torch.testing.assert_close(padded[:, 1:], unpadded)


@pytest.mark.parametrize("unit", UNITS)
def test_state_continues_a_sequence(unit: str) -> None:
    layer = make(unit, "stacked")
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    whole, _ = layer(x)
    first, state = layer(x[:, :2])
    second, _ = layer(x[:, 2:], state=state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


def test_initial_recurrent_weights_are_orthogonal() -> None:
    layer = Recurrent("gru", 5, 7, 2)
    for gate in layer.fused.weight_hh_l1.split(7):
        torch.testing.assert_close(gate @ gate.T, torch.eye(7), atol=1e-5, rtol=0)
    assert not layer.fused.bias_ih_l0.any()


@pytest.mark.parametrize("by", PATHS)
def test_dropout_acts_between_layers_in_training_only(by: str) -> None:
    torch.manual_seed(0)
    layer = Recurrent("lstm", 5, 7, 2, dropout=0.5)
    x = torch.randn(2, 4, 5)
    for mask in (None, right_padding([4, 2])):
        layer.train()
        assert not torch.equal(*(PATHS[by](layer, x, mask, None)[0] for _ in range(2)))
        layer.eval()
        assert torch.equal(*(PATHS[by](layer, x, mask, None)[0] for _ in range(2)))

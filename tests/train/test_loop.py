"""fit(): exact accumulation, clipping, the ends of budgets, bad batches, and what an optimizer is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.config import KINDS, BatchConfig, BudgetConfig, resolve
from clew.contracts import Loader, Loss, Objective
from clew.data.batches import PairLoader, Pairs
from clew.errors import NonFiniteLoss
from clew.inputs import TokenPair
from clew.models.transformer import Transformer, TransformerConfig
from clew.nn.work import Work
from clew.objectives.translation import Translation, TranslationConfig
from clew.train.average import Average
from clew.train.budget import Progress
from clew.train.loop import fit
from clew.train.optim import SGD, Adam, AdamConfig, SGDConfig, parameter_groups
from clew.train.schedule import Constant, Linear

V = 12
IDS = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
CONSTANT = Constant(Constant.Config())
OBJECTIVE = Translation(TranslationConfig())


def pairs(n: int = 16) -> Pairs:
    generator = torch.Generator().manual_seed(0)

    def text() -> list[int]:
        return torch.randint(3, V, (int(torch.randint(1, 7, (), generator=generator)),), generator=generator).tolist()

    return Pairs([text() for _ in range(n)], [text() for _ in range(n)])


def translator(**settings: Any) -> Transformer:
    torch.manual_seed(0)
    sizes = {"d_model": 8, "d_ff": 16, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 1, "dropout": 0.0}
    return Transformer(TransformerConfig(**sizes | settings), TokenPair.of(V, V))


def loader(**settings: Any) -> PairLoader:
    return PairLoader(pairs(), **{"batch": BatchConfig(tokens=24), "max_length": 10, "seed": 1} | settings, **IDS)


class Given(Loader):
    """The same batches over and over."""

    def __init__(self, batches: list[Any]) -> None:
        super().__init__(seed=0)
        self.batches = batches

    def plan(self, epoch: int) -> range:
        return range(len(self.batches))

    def collate(self, rows: int, rng: np.random.Generator) -> Any:
        return self.batches[rows]


class Of(Objective):
    """The objective that a function is."""

    def __init__(self, function: Callable[[Any, Any], Loss]) -> None:
        super().__init__(None)
        self.function = function

    def __call__(self, model: Any, batch: Any) -> Loss:
        return self.function(model, batch)


def sgd(model: nn.Module, lr: float = 0.5) -> torch.optim.Optimizer:
    return SGD(SGDConfig(lr=lr))(model)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_accumulation_is_exact() -> None:
    """Four batches of unequal token counts, accumulated, make the step of the one large batch."""
    data = pairs()
    large = data.batch(range(16), **IDS)
    quarters = [data.batch(range(start, start + 4), **IDS) for start in range(0, 16, 4)]
    assert len({batch.n_tokens for batch in quarters}) > 1
    found = []
    for batches, accumulate in (([large], 1), (quarters, 4)):
        model = translator().double()
        steps = fit(
            model, OBJECTIVE, Given(batches), sgd(model), CONSTANT, BudgetConfig(steps=3),
            accumulate=accumulate, clip_norm=0.7,
        )  # fmt: skip
        found.append((list(steps), weights(model)))
    (one, whole), (four, parts) = found
    torch.testing.assert_close(parts, whole, atol=1e-10, rtol=1e-10)
    for a, b in zip(one, four, strict=True):
        assert (a.count, a.number) == (b.count, b.number)
        assert (a.loss, a.grad_norm) == pytest.approx((b.loss, b.grad_norm), rel=1e-10)
        assert a.parts["nll"] == pytest.approx(b.parts["nll"], rel=1e-10)


@pytest.mark.parametrize("clip_norm", [None, 0.01, 1e6])
def test_one_step_by_hand(clip_norm: float | None) -> None:
    """θ - lr · g / count, with g / count shortened to clip_norm where it is longer; the norm told is that before."""
    model, batch = translator(), pairs().batch(range(5), **IDS)
    before = weights(model)
    loss = OBJECTIVE(model, batch)
    gradients = torch.autograd.grad(loss.total, list(model.parameters()))
    mean = torch.cat([gradient.flatten() for gradient in gradients]) / loss.count
    (step,) = fit(model, OBJECTIVE, Given([batch]), sgd(model), CONSTANT, BudgetConfig(steps=1), clip_norm=clip_norm)
    norm = mean.norm().item()
    assert step.grad_norm == pytest.approx(norm, rel=1e-5)
    assert step.loss == pytest.approx(loss.total.item() / loss.count, rel=1e-6)
    assert step.count == batch.n_tokens
    scale = min(1.0, clip_norm / norm) if clip_norm else 1.0
    torch.testing.assert_close(weights(model), before - 0.5 * scale * mean, atol=1e-6, rtol=1e-5)


def test_the_rate_follows_the_schedule_for_every_group() -> None:
    model = translator()
    optimizer = sgd(model, lr=0.2)
    optimizer.param_groups[1]["lr"] = 0.1
    steps = fit(model, OBJECTIVE, loader(), optimizer, Linear(Linear.Config(warmup=2)), BudgetConfig(steps=4))
    seen = [(step.lr, optimizer.param_groups[1]["lr"]) for step in steps]
    expected = [0.2 * 0.5 * 1.0, 0.2 * 0.75, 0.2 * 0.5, 0.2 * 0.25]
    assert [lr for lr, _ in seen] == pytest.approx(expected)
    assert [lr for _, lr in seen] == pytest.approx([rate / 2 for rate in expected])


@pytest.mark.parametrize(
    "budget",
    [{"steps": 5}, {"epochs": 1.5}, {"tokens": 100}, {"flops": 5e6}, {"cpu_minutes": 1e-3}, {"wall_minutes": 1e-3}],
)
def test_training_ends_with_its_budget(budget: dict[str, float]) -> None:
    """At the first step at which the budget is used, and not one later; `done` says how far it is."""
    model, progress = translator(), Progress()
    steps = list(fit(model, OBJECTIVE, loader(), sgd(model), CONSTANT, BudgetConfig(**budget), progress=progress))
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[-1] >= 1
    assert all(share < 1 for share in done[:-1])
    assert progress.step == len(steps) == steps[-1].number
    assert progress.tokens == sum(step.count for step in steps)
    assert progress.read == sum(step.tokens for step in steps) > progress.tokens
    assert progress.cpu_seconds == pytest.approx(sum(step.cpu_seconds for step in steps))


def test_each_step_is_charged_for_what_learns_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And for what the objective did beside it."""
    model, progress, charged = translator(), Progress(), 0.0
    whole = Work(model).training()
    frozen = Work(model.requires_grad_(False)).training()
    assert whole == 3 * frozen
    monkeypatch.setattr(OBJECTIVE, "extra_flops", lambda: 7.0)

    def unfreeze(done: float) -> None:
        model.requires_grad_(done >= 0.5)

    for step in fit(
        model, OBJECTIVE, loader(), sgd(model), CONSTANT, BudgetConfig(steps=4), progress=progress, before_step=unfreeze
    ):
        charged += (whole if step.number > 2 else frozen) * step.tokens + 7.0
        assert progress.flops == pytest.approx(charged)


def test_the_callers_time_is_not_counted() -> None:
    model, progress = translator(), Progress()
    for _ in fit(model, OBJECTIVE, loader(), sgd(model), CONSTANT, BudgetConfig(steps=2), progress=progress):
        counted = progress.wall_seconds
        for _ in range(50):
            torch.randn(100, 1000).sum()
        assert progress.wall_seconds == counted
        model.eval()  # a caller's validation
    before = progress.wall_seconds
    list(fit(model, OBJECTIVE, loader(), sgd(model), CONSTANT, BudgetConfig(steps=2), progress=progress))
    assert progress.wall_seconds == before  # nothing is left to do
    modes: list[bool] = []

    def watch(module: nn.Module, batch: PairBatch) -> Loss:
        modes.append(module.training)
        return OBJECTIVE(module, batch)

    list(fit(model.eval(), Of(watch), loader(), sgd(model), CONSTANT, BudgetConfig(steps=1)))
    assert modes == [True]


@pytest.mark.parametrize("bad", ["loss", "gradient"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_is_not_finite(bad: str, accumulate: int) -> None:
    """The step and the rows are named, and the weights, the average and the count are as before."""
    model, progress = translator(), Progress()
    average, data = Average(model, 0.9), pairs()
    batches = Given([data.batch([2 * i, 2 * i + 1], **IDS) for i in range(8)])
    fourth = 4 * accumulate - 1  # the last batch of the fourth step
    calls = 0

    def objective(module: nn.Module, batch: PairBatch) -> Loss:
        nonlocal calls
        calls += 1
        loss = OBJECTIVE(module, batch)
        if calls - 1 == fourth:
            broken = (
                loss.total * torch.inf if bad == "loss" else loss.total + 0 * loss.total.sub(loss.total.detach()).sqrt()
            )
            return Loss(broken, loss.count, loss.tokens)
        return loss

    seen = weights(model)
    steps = fit(
        model, Of(objective), batches, sgd(model), CONSTANT, BudgetConfig(steps=9),
        progress=progress, average=average, accumulate=accumulate,
    )  # fmt: skip
    with pytest.raises(NonFiniteLoss, match=r"became (inf|nan)") as caught:
        for _ in steps:
            seen, means = weights(model), [weight.clone() for weight in average.weights]
    first = fourth if bad == "loss" else fourth + 1 - accumulate
    rows = (
        list(range(2 * first, 2 * fourth + 2)) if accumulate == 1 or bad == "gradient" else [2 * fourth, 2 * fourth + 1]
    )
    assert caught.value.where == f"step 4, data rows {[row % 16 for row in rows]}"
    assert torch.equal(weights(model), seen)
    assert all(torch.equal(a, b) for a, b in zip(average.weights, means, strict=True))
    assert progress.step == 3


def test_average_follows_its_formula() -> None:
    model = translator()
    average = Average(model, 0.5)
    expected = weights(model)
    for step in fit(model, OBJECTIVE, loader(), sgd(model), CONSTANT, BudgetConfig(steps=8), average=average):
        decay = min(0.5, (1 + step.number) / (10 + step.number))
        expected = decay * expected + (1 - decay) * weights(model)
        torch.testing.assert_close(torch.cat([w.flatten() for w in average.weights]), expected, atol=1e-6, rtol=1e-5)
    live = weights(model)
    with pytest.raises(RuntimeError, match="inside"), average.in_place():
        torch.testing.assert_close(weights(model), expected, atol=1e-6, rtol=1e-5)
        raise RuntimeError("inside")
    assert torch.equal(weights(model), live)


def test_parameter_groups() -> None:
    """Matrices decay; tables, positions, biases and norms do not; what is frozen is left out; none twice."""
    model = translator(positions="learned", share_embeddings=True)
    model.encoder.layers[0].attention.query.weight.requires_grad_(False)
    decays, rest = parameter_groups(model, 0.1, 0.3)
    assert (decays["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decaying = {names[id(parameter)] for parameter in decays["params"]}
    spared = {names[id(parameter)] for parameter in rest["params"]}
    matrices = ("query", "key", "value", "output", "inner", "outer")
    assert decaying and all(name.endswith(tuple(f"{m}.weight" for m in matrices)) for name in decaying)
    assert {"source_embedding.weight", "positions.table", "bias"} <= spared
    frozen = {"encoder.layers.0.attention.query.weight"}
    assert decaying | spared | frozen == set(names.values())
    assert not decaying & spared


@pytest.mark.parametrize("kind", KINDS["optimizer"])
def test_optimizers_take_their_settings(kind: str) -> None:
    chosen = resolve("optimizer", kind)
    optimizer = chosen(chosen.Config(lr=0.01, weight_decay=0.1))(translator())
    assert type(optimizer).__name__.lower().removesuffix("andadamw") == kind
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    assert all(group["lr"] == 0.01 for group in optimizer.param_groups)
    if kind in ("adam", "adamw"):
        assert all(tuple(group["betas"]) == (0.9, 0.98) for group in optimizer.param_groups)


def test_bf16_trains_close_to_fp32() -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        model = translator()
        optimizer = Adam(AdamConfig(lr=0.01))(model)
        steps = fit(model, OBJECTIVE, loader(), optimizer, CONSTANT, BudgetConfig(steps=30), precision=precision)
        losses[precision] = [step.loss for step in steps]
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["bf16"][-1] < 0.8 * losses["bf16"][0]

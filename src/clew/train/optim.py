"""Optimizers, built over a model's parameters; weight decay spares biases, norms and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.optim import Optimizer

from clew.config import Choice
from clew.errors import RecipeError
from clew.nn.work import embeddings


class AdamConfig(Choice):
    kind: str = "adam"
    lr: float = Field(5e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-9
    weight_decay: float = Field(0.0, ge=0)


class MuonConfig(Choice):
    kind: str = "muon"
    lr: float = Field(1e-3, gt=0)
    momentum: float = Field(0.95, ge=0, lt=1)
    betas: tuple[float, float] = (0.9, 0.95)  # of AdamW, for what is no matrix
    eps: float = 1e-8
    weight_decay: float = Field(0.1, ge=0)


class SGDConfig(Choice):
    kind: str = "sgd"
    lr: float = Field(0.1, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class AdaGradConfig(Choice):
    kind: str = "adagrad"
    lr: float = Field(0.05, gt=0)
    initial: float = Field(1.0, gt=0)  # of each sum of squared gradients: the first steps are lr · g / √(initial + g²)
    weight_decay: float = Field(0.0, ge=0)


class AdafactorConfig(Choice):
    kind: str = "adafactor"
    lr: float = Field(1e-2, gt=0)  # relative: of the size of each matrix
    weight_decay: float = Field(0.0, ge=0)


Factor = Callable[[str], float]
"""Of the rate, for the parameter of that name."""


Group = dict[str, Any]
"""Of torch's optimizers: `params`, and settings of theirs."""

Parameters = Mapping[str, nn.Parameter]


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float, factor: Factor | None = None, more: Parameters | None = None
) -> list[Group]:
    """Two groups for each rate, the highest first: matrices, which decay, and the rest, which does not."""
    tables = {id(table) for table in embeddings(model)}
    groups: dict[float, tuple[list[nn.Parameter], list[nn.Parameter]]] = {1.0: ([], [])}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays, rest = groups.setdefault(factor(name) if factor else 1.0, ([], []))
            (decays if parameter.ndim >= 2 and id(parameter) not in tables else rest).append(parameter)
    for parameter in (more or {}).values():  # what an objective learns beside the model
        groups[1.0][parameter.ndim < 2].append(parameter)
    return [
        {"params": parameters, "lr": lr * share, "weight_decay": decay}
        for share in sorted(groups, reverse=True)
        for parameters, decay in zip(groups[share], (weight_decay, 0.0), strict=True)
    ]


class _Factory:
    """A choice whose object makes a torch optimizer: `AdamW(config)(model, factor) -> Optimizer`."""

    make: Callable[..., Optimizer]

    def __init__(self, config: AdamConfig | SGDConfig | AdaGradConfig) -> None:
        self.config = config

    def __call__(self, model: nn.Module, factor: Factor | None = None, more: Parameters | None = None) -> Optimizer:
        options = self.config.model_dump(exclude={"kind", "lr", "weight_decay"})
        groups = parameter_groups(model, self.config.lr, self.config.weight_decay, factor, more)
        # torch's fused steps take a table's memory to be dense: rows with padding would be moved in the wrong places
        fused = all(parameter.is_contiguous() for parameter in model.parameters())
        return type(self).make(groups, fused=fused, **options)

    def rate(self, model: nn.Module) -> Rate:
        """For an engine that takes the steps itself. Raises RecipeError where they would not be this optimizer's."""
        raise RecipeError(
            f"the word-vector kernels take plain steps, not those of {self.config.kind}",
            where="train.optimizer.kind", fix='set train.optimizer.kind="sgd", or objective.engine="equation"',
        )  # fmt: skip


class Rate:
    """What a compiled engine asks of an optimizer: the rate, which the schedule moves; θ −= lr · g is the engine's own.

    In place of torch's, whose making imports its compiler: 60 MB and a second.
    """

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(model.parameters()), "lr": lr}]

    def step(self) -> None:
        """The engine has moved the weights by now."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """There are no gradients."""

    def state_dict(self) -> dict[str, Any]:
        return {"state": {}, "param_groups": [{**self.param_groups[0], "params": []}]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.param_groups[0] |= {name: value for name, value in state["param_groups"][0].items() if name != "params"}


class Adam(_Factory):
    """Kingma and Ba 2015, with Vaswani et al.'s β₂ and ε as defaults; weight decay as an L2 gradient."""

    Config = AdamConfig
    make = torch.optim.Adam


class AdamW(_Factory):
    """Loshchilov and Hutter 2019: decay apart from the gradient."""

    class Config(AdamConfig):
        kind: str = "adamw"

    make = torch.optim.AdamW


class SGD(_Factory):
    """Robbins and Monro, with momentum where it is set."""

    Config = SGDConfig
    make = torch.optim.SGD

    def rate(self, model: nn.Module) -> Rate:
        if self.config.weight_decay or self.config.momentum:  # type: ignore[union-attr]
            raise RecipeError(
                "the word-vector kernels know neither momentum nor weight decay", where="train.optimizer",
                fix='set both to 0, or objective.engine="equation"',
            )  # fmt: skip
        return Rate(model, self.config.lr)


class AdaGrad(_Factory):
    """Duchi et al. 2011: θ −= lr · g / √G, where G = initial + Σ g² for each number.

    GloVe's program with η has lr = 1 and initial = 1/η² in these terms.
    """

    Config = AdaGradConfig

    @staticmethod
    def make(groups: list[Group], *, initial: float, **options: Any) -> Optimizer:
        return torch.optim.Adagrad(groups, initial_accumulator_value=initial, eps=0, **options)


class Adafactor(_Factory):
    """Shazeer and Stern 2018, algorithm 4, without momentum: what T5 was trained with, in torch's form.

    θ −= lr · max(1e-3, RMS(θ)) · u, where u is the gradient over the root of its mean square (of a matrix, from those
    of its rows and columns alone), of RMS 1 at most; lr no more than 1/√step. A table of N(0, 1) so moves as fast, for
    its size, as a matrix of N(0, 1/d): under AdamW √d times more slowly.
    """

    Config = AdafactorConfig

    @staticmethod
    def make(groups: list[Group], *, fused: bool, **options: Any) -> Optimizer:
        return torch.optim.Adafactor(groups, **options)


class Muon(_Factory):
    """Jordan et al. 2024, scaled as in Liu et al. 2025: orthogonalised momentum for matrices, AdamW for the rest.

    Embeddings and whatever is no matrix are the rest. One rate serves both: a matrix's step has the size of AdamW's.
    """

    Config = MuonConfig

    def __call__(self, model: nn.Module, factor: Factor | None = None, more: Parameters | None = None) -> Optimizer:
        options = self.config.model_dump(exclude={"kind", "lr", "weight_decay"})
        groups = parameter_groups(model, self.config.lr, self.config.weight_decay, factor, more)
        return MuonAndAdamW([{**group, "matrices": n % 2 == 0} for n, group in enumerate(groups)], **options)


class MuonAndAdamW(Optimizer):
    """Steps of Muon where a group says `matrices`, of AdamW elsewhere.

    Muon (Liu et al. 2025, eq. 1 and 4), with m ← μ m + g:  W ← (1 - lr λ) W - lr · 0.2 √max(rows, columns) · O, where O
    is the orthogonal matrix nearest to g + μ m, whose singular values are all 1.
    """

    def __init__(
        self, groups: list[Group], *, momentum: float, betas: tuple[float, float] | list[float], eps: float
    ) -> None:
        super().__init__(groups, {"momentum": momentum, "betas": tuple(betas), "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            learning = [parameter for parameter in group["params"] if parameter.grad is not None]
            if learning and group["weight_decay"]:
                torch._foreach_mul_(learning, 1 - group["lr"] * group["weight_decay"])
            (self.muon if group["matrices"] else self.adam)(learning, group)

    def muon(self, matrices: list[nn.Parameter], group: dict[str, Any]) -> None:
        alike: dict[torch.Size, list[nn.Parameter]] = {}
        for matrix in matrices:
            alike.setdefault(matrix.shape, []).append(matrix)
        for shape, some in alike.items():  # those of one shape as one batch
            each: list[Any] = [matrix.grad for matrix in some]
            gradients = torch.stack(each)
            means = torch.stack([self.held(matrix, "momentum") for matrix in some])
            means.mul_(group["momentum"]).add_(gradients)
            steps = orthogonal(gradients.add_(means, alpha=group["momentum"]).flatten(2))
            for matrix, mean, step in zip(some, means, steps, strict=True):
                self.state[matrix]["momentum"].copy_(mean)
                matrix.sub_(step.view(shape), alpha=group["lr"] * 0.2 * max(step.shape) ** 0.5)

    def adam(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        beta_1, beta_2 = group["betas"]
        for parameter in parameters:
            mean, square = self.held(parameter, "mean"), self.held(parameter, "square")
            t = self.state[parameter].setdefault("step", torch.zeros(())).add_(1).item()
            gradient: Any = parameter.grad
            mean.lerp_(gradient, 1 - beta_1)
            square.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
            scale = (square / (1 - beta_2**t)).sqrt_().add_(group["eps"])
            parameter.addcdiv_(mean, scale, value=-group["lr"] / (1 - beta_1**t))

    def held(self, parameter: nn.Parameter, name: str) -> torch.Tensor:
        """What is remembered of a parameter, zeros at first."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        found: torch.Tensor = state[name]
        return found


def orthogonal(x: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """U Vᵀ of x = U S Vᵀ (n, rows, columns), nearly, by Newton–Schulz iterations (Jordan et al. 2024).

    X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X with coefficients for speed: singular values end between 0.7 and 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[-2] > x.shape[-1]
    x = x.transpose(-2, -1) if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        square = x @ x.transpose(-2, -1)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.transpose(-2, -1) if tall else x

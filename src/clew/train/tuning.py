"""Fine-tuning: which weights of a model's blocks and its head learn, from when on, and at what share of the rate."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field
from torch import nn
from torch.nn.utils import parametrize

from clew.config import Choice
from clew.contracts import Model
from clew.errors import RecipeError
from clew.nn.low_rank import LowRank


class FullConfig(Choice):
    """Every weight learns."""

    kind: str = "full"


class Full:
    """Every weight learns, from the start and at one rate; the base of the other kinds, which need blocks.

    Made on a model before its optimizer is.
    """

    Config: type[Choice] = FullConfig

    def __init__(self, config: Any, model: Model) -> None:
        self.config, self.model = config, model

    def factor(self, name: str) -> float:
        """Return the share of the rate for the parameter of that name."""
        return 1.0

    def before_step(self, done: float) -> None:
        """Called before each step, the model in training mode; done: the used share of the budget."""


class _ByDepth(Full):
    """A tuning that treats parts of a model differently. Raise RecipeError for a model that has no blocks."""

    head_only = False  # True: nothing but the head learns

    def __init__(self, config: Any, model: Model) -> None:
        super().__init__(config, model)
        self.blocks = [*model.blocks()]
        if not self.blocks:
            raise RecipeError(
                f'"{config.kind}" parts the blocks of a model from its head, which a {type(model).__name__} does not '
                "have", where="train.tuning.kind", fix='set train.tuning.kind="full", or take an encoder',
            )  # fmt: skip
        top = len(self.blocks)
        depths = {id(p): top - n for n, block in enumerate(self.blocks) for p in block.parameters()}
        self.depths = {name: depths.get(id(p), 0) for name, p in model.named_parameters()}
        if self.head_only and not any(depth == 0 for depth in self.depths.values()):
            raise RecipeError(
                f'nothing learns under "{config.kind}": a {type(model).__name__} has no head apart from its blocks',
                where="train.tuning.kind", fix='set train.tuning.kind="lora" or "full"',
            )  # fmt: skip

    def depth(self, name: str) -> int:
        """Return how far a parameter lies below the head: the head itself 0, the top block 1, …, the embeddings N."""
        return self.depths[name]


class FrozenConfig(Choice):
    """The head alone learns, from features of an encoder that stays as it began."""

    kind: str = "frozen"


class Frozen(_ByDepth):
    """Only the head learns, from features that do not change (Devlin et al. 2019, §5.3).

    Nothing of the encoder is dropped out, and no gradient goes through it: none of its weights asks for one.
    """

    Config = FrozenConfig
    head_only = True

    def __init__(self, config: Choice, model: Model) -> None:
        super().__init__(config, model)
        for block in self.blocks:
            block.requires_grad_(False)

    def before_step(self, done: float) -> None:
        self.model.backbone.eval()


class GradualConfig(Choice):
    """The head learns from the start, each layer a while after the one above it, the embeddings last."""

    kind: str = "gradual"
    until: float = Field(0.5, gt=0, le=1)  # the share of the budget at which the embeddings begin to learn


class Gradual(_ByDepth):
    """Unfreezing from the top down (Howard and Ruder 2018, §3.3), in N + 1 equal shares of the budget up to `until`.

    There a layer comes every epoch. What is frozen yet is dropped out as it will be when it learns, as in their code.
    Of a model that has no head the top block learns from the start, the N - 1 below it in as many shares.
    What learns depends on the share of the budget alone, so that a resumed run goes on as it would have.
    """

    Config = GradualConfig

    def __init__(self, config: GradualConfig, model: Model) -> None:
        super().__init__(config, model)
        self.learning = [(self.depth(name), p) for name, p in model.named_parameters() if p.requires_grad]
        self.top = min(depth for depth, _ in self.learning)  # 0, or 1 where there is no head

    def before_step(self, done: float) -> None:
        reached = self.top + math.floor(done / self.config.until * (len(self.blocks) - self.top))
        for depth, parameter in self.learning:
            parameter.requires_grad_(depth <= reached)


class LayerwiseConfig(Choice):
    """The head learns at the full rate, each layer at `decay` times that of the one above it, the embeddings lowest."""

    kind: str = "layerwise"
    decay: float = Field(0.8, gt=0, le=1)


class Layerwise(_ByDepth):
    """rate · decay^depth ("discriminative fine-tuning", Howard and Ruder 2018, §3.1; Clark et al. 2020, table 7)."""

    Config = LayerwiseConfig

    def factor(self, name: str) -> float:
        return float(self.config.decay ** self.depth(name))


class LoRAConfig(Choice):
    """Of the encoder only a low-rank update of some matrices learns, W + (α/r) B A; the head learns as a whole."""

    kind: str = "lora"
    rank: int = Field(8, ge=1)  # r
    alpha: float = Field(16.0, gt=0)  # α
    targets: tuple[str, ...] = Field(("query", "value"), min_length=1)  # linear layers of the encoder, by their names


class LoRA(_ByDepth):
    """Hu et al. 2021, §4; what the run keeps are the sums, plain weights as those of any other run.

    Raises RecipeError for a target that no linear layer of the encoder is called.
    """

    Config = LoRAConfig

    def __init__(self, config: LoRAConfig, model: Model) -> None:
        super().__init__(config, model)
        linear = [(name.rpartition(".")[2], m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
        inside = {id(module) for block in self.blocks for module in block.modules()}
        layers = [(name, module) for name, module in linear if id(module) in inside]
        for block in self.blocks:
            block.requires_grad_(False)
        known = dict.fromkeys(name for name, _ in layers)
        for target in config.targets:
            if target not in known:
                raise RecipeError(
                    f'no linear layer of the model is called "{target}"', where="train.tuning.targets",
                    fix=f"there are {', '.join(known)}",
                )  # fmt: skip
        for name, layer in layers:
            if name in config.targets:
                update = LowRank(layer.weight, config.rank, config.alpha)
                parametrize.register_parametrization(layer, "weight", update)

"""Fine-tuning: which weights of an encoder and its head learn, from when on, and at what share of the rate."""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic import Field
from torch import nn
from torch.nn.utils import parametrize

from clew.config import Choice
from clew.errors import RecipeError
from clew.nn.low_rank import LowRank


class FullConfig(Choice):
    """Every weight learns."""

    kind: str = "full"


class Full:
    """Every weight learns, from the start and at one rate; the base of the other kinds, which need an encoder.

    Made on a model before its optimizer is.
    """

    Config: type[Choice] = FullConfig

    def __init__(self, config: Any, model: nn.Module) -> None:
        self.config, self.model = config, model

    def factor(self, name: str) -> float:
        """Of the rate, for the parameter of that name."""
        return 1.0

    def before_step(self, done: float) -> None:
        """Called before each step, the model in training mode; done: the used share of the budget."""


class _Apart(Full):
    """A tuning that treats the encoder and its head differently. Raises RecipeError for a model without the two."""

    def __init__(self, config: Any, model: nn.Module) -> None:
        super().__init__(config, model)
        self.encoder: Any = getattr(model, "encoder", None)
        if not getattr(self.encoder, "encoder", False):
            raise RecipeError(
                f'"{config.kind}" parts an encoder from its head, which a {type(model).__name__} does not have',
                where="train.tuning.kind", fix='set train.tuning.kind="full", or take an encoder (model.kind="bert")',
            )  # fmt: skip

    def depth(self, name: str) -> int:
        """How far a parameter lies below the head: the head itself 0, the top layer 1, …, the embeddings N + 1."""
        n_layers = len(self.encoder.layers)
        if layer := re.match(r"encoder\.layers\.(\d+)\.", name):
            return n_layers - int(layer[1])
        return n_layers + 1 if name.startswith("encoder.") else 0


class FrozenConfig(Choice):
    """The head alone learns, from features of an encoder that stays as it began."""

    kind: str = "frozen"


class Frozen(_Apart):
    """Only the head learns, from features that do not change (Devlin et al. 2019, §5.3).

    Nothing of the encoder is dropped out, and no gradient goes through it: none of its weights asks for one.
    """

    Config = FrozenConfig

    def __init__(self, config: Choice, model: nn.Module) -> None:
        super().__init__(config, model)
        self.encoder.requires_grad_(False)

    def before_step(self, done: float) -> None:
        self.encoder.eval()


class GradualConfig(Choice):
    """The head learns from the start, each layer a while after the one above it, the embeddings last."""

    kind: str = "gradual"
    until: float = Field(0.5, gt=0, le=1)  # the share of the budget at which the embeddings begin to learn


class Gradual(_Apart):
    """Unfreezing from the top down (Howard and Ruder 2018, §3.3), in N + 1 equal shares of the budget up to `until`.

    There a layer comes every epoch. What is frozen yet is dropped out as it will be when it learns, as in their code.
    What learns depends on the share of the budget alone, so that a resumed run goes on as it would have.
    """

    Config = GradualConfig

    def __init__(self, config: GradualConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.learning = [(self.depth(name), p) for name, p in model.named_parameters() if p.requires_grad]

    def before_step(self, done: float) -> None:
        reached = math.floor(done / self.config.until * (len(self.encoder.layers) + 1))
        for depth, parameter in self.learning:
            parameter.requires_grad_(depth <= reached)


class LayerwiseConfig(Choice):
    """The head learns at the full rate, each layer at `decay` times that of the one above it, the embeddings lowest."""

    kind: str = "layerwise"
    decay: float = Field(0.8, gt=0, le=1)


class Layerwise(_Apart):
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


class LoRA(_Apart):
    """Hu et al. 2021, §4; what the run keeps are the sums, plain weights as those of any other run.

    Raises RecipeError for a target that no linear layer of the encoder is called.
    """

    Config = LoRAConfig

    def __init__(self, config: LoRAConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.encoder.requires_grad_(False)
        layers = [(name.rpartition(".")[2], m) for name, m in self.encoder.named_modules() if isinstance(m, nn.Linear)]
        known = dict.fromkeys(name for name, _ in layers)
        for target in config.targets:
            if target not in known:
                raise RecipeError(
                    f'no linear layer of the encoder is called "{target}"', where="train.tuning.targets",
                    fix=f"there are {', '.join(known)}",
                )  # fmt: skip
        for name, layer in layers:
            if name in config.targets:
                update = LowRank(layer.weight, config.rank, config.alpha)
                parametrize.register_parametrization(layer, "weight", update)

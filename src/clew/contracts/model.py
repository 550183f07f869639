"""What a model promises: it is built from settings and what it reads, and heads, tuning and adapters need not ask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from clew.config import Choice, load_class
from clew.errors import RecipeError
from clew.inputs import TokenPair, Tokens, Words

Head = Literal[
    "words", "translate", "language_model", "masked_lm", "classify", "tag", "choose", "answer"
]  # fmt: skip
"""What a task asks of a model: one output a text, one a token, the next token, …"""

HEADS: dict[str, str] = {
    "masked_lm": "clew.models.heads:Pretraining",
    "classify": "clew.models.heads:SequenceClassification",
    "tag": "clew.models.heads:TokenClassification",
    "choose": "clew.models.heads:MultipleChoice",
    "answer": "clew.models.heads:SpanAnswering",
}
"""The heads that stand on an `Encoder`: `Class(encoder, spec, n_outputs)`."""


class Model(nn.Module):
    """Every model: built as `Model(config, spec)` from its own `Config` and what it is to read.

    Subclasses inherit all of it, a user's class too.
    """

    Config: type[Choice]
    config: Any
    heads: ClassVar[frozenset[str]] = frozenset()  # which of `Head` the model is by itself
    adapter: ClassVar[str] = ""  # "module:Class" of the `Adapter` of its family; "": kept in clew's own format
    reads: ClassVar[Any] = Tokens | TokenPair | Words  # what it can be built for: some of `InputSpec`
    bears_heads = False  # True: the heads of all tasks can stand on it
    n_outputs = 0  # of the head, where it has so many
    share_read = 1.0  # of its weights, that each token is multiplied by
    own_preprocessor: ClassVar[str] = ""  # "module:Class" of what makes its inputs of texts; "": the recipe's tokenizer
    # These two are of the very class that names them, since a subclass may compute otherwise: see `own`.
    exports: ClassVar[frozenset[str]] = frozenset()  # the programs that a run of it can be written for
    engine: ClassVar[Literal["", "reads", "writes", "translates"]] = (
        ""  # which of those in `decode/` computes as it does
    )
    layout: ClassVar[Any] = None  # the names of tensors and settings that the adapter goes by

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: Any, n_outputs: int) -> Model:
        """Return a new model that gives what `head` says; n_outputs: classes, where there are any.

        Raise RecipeError where this kind of model cannot.
        """
        if head not in cls.heads:
            raise RecipeError(
                f"a {config.kind} {REFUSED[head]}", where="model.kind", fix="choose another kind of model"
            )
        return cls(config, spec)

    @classmethod
    def own(cls, name: Literal["exports", "engine"]) -> Any:
        """Return what the class itself, not one that it derives from, says of `exports` or `engine`."""
        return vars(cls).get(name, vars(Model)[name])

    @property
    def max_length(self) -> int | None:
        """The longest input that it reads, in tokens; None: any."""
        return None

    @property
    def backbone(self) -> Model:
        """The model below a task's head; itself where there is none."""
        return self

    def times_used(self) -> Mapping[int, float]:
        """Return how often a weight is used on one thing that is read, by its `id`; those not named: once.

        A convolution uses its weights at every place of an image.
        """
        return {}

    def blocks(self) -> Sequence[nn.Module]:
        """Return the parts of the backbone from the input upwards, for tuning by depth; none where it has none.

        What learns and is in none of them is the head.
        """
        return ()

    def token_table(self) -> Tensor:
        """Return the vectors of the tokens that it reads, (V, d). Raise RecipeError where it reads no tokens."""
        raise RecipeError(f"a {type(self).__name__} has no table of tokens", where="model.kind")

    def output_table(self) -> tuple[Tensor, ...]:
        """Return weight (V, d) and bias (V,) of the projection onto the vocabulary; nothing where it has none."""
        return ()

    def vectors(self) -> Any:
        """Return its `WordVectors`. Raise RecipeError where it has none."""
        raise RecipeError(
            f"a {type(self).__name__} has no word vectors", where="model.kind",
            fix="take a run of word vectors (clew train TEXT)",
        )  # fmt: skip


REFUSED: dict[Head, str] = {
    "words": "gives no word vectors", "translate": "does not translate", "language_model": "does not write",
    "masked_lm": "does not fill masks", "classify": "does not classify", "tag": "does not tag words",
    "choose": "does not choose among several texts", "answer": "does not find answers in a text",
}  # fmt: skip


class Encoder(Model):
    """A model whose states a head reads. `forward(batch, at=None)` gives an `EncoderOutput`.

    at: (n,) places among the batch · time ones, the only ones whose states will be asked for.
    """

    bears_heads = True
    pools_alone = False  # True: it gives one vector an input and no states of its parts, as a model of images does
    width: int  # numbers in a state
    head_dropout = 0.0  # of the states that a head reads

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: Any, n_outputs: int) -> Model:
        if head not in HEADS or (cls.pools_alone and head != "classify"):
            return super().with_head(head, config, spec, n_outputs)
        made: Model = load_class(HEADS[head])(cls(config, spec), spec, n_outputs)
        return made

    def pooled(self, batch: Any) -> Tensor:
        """Return one vector an input, (batch, width), without work for anything else."""
        found: Tensor = self(batch).pooled
        return found

    def pooler(self) -> nn.Module:
        """Return a new module that `pooled` goes through before a head's linear layer."""
        return nn.Identity()


class EncoderOutput(Protocol):
    """What an encoder makes of a batch. A model of images has `pooled` alone."""

    @property
    def pooled(self) -> Tensor:
        """(batch, width): one vector an input."""
        ...

    @property
    def hidden(self) -> Tensor:
        """(n, width): the states of the places that were asked for, of all real tokens where none were named."""
        ...

    def sequence(self) -> Tensor:
        """Return the states of every place, 0 at padding: (batch, time, width)."""
        ...


class Adapter(ABC):
    """How a family's models are kept: settings and tensors, both ways, by one invertible table."""

    @abstractmethod
    def describe(self, folder: Path, model: Model, preprocessor: Any, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return `config.json` with what clew says `about` a run; what goes with it is written to `folder`."""

    @abstractmethod
    def to_hf(self, model: Model) -> dict[str, Tensor]:
        """Return the weights of a model under the names by which they are kept."""

    @abstractmethod
    def fill(self, model: Model, tensors: Mapping[str, Tensor], where: str) -> None:
        """Load every tensor of a model. Raise RunError naming what is missing, left over or of another size."""

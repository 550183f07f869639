"""What the objectives of word vectors share: which word predicts which, and the two paths, equation and kernel."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from clew.batches import CorpusBatch
from clew.config import Choice
from clew.contracts import Loss, Objective
from clew.data.corpus import keep_probability, windows
from clew.errors import RecipeError
from clew.kernels.parts import Parts
from clew.kernels.sampling import Draws, Settings, draws, in_threads, states
from clew.models.word2vec import Word2Vec, aligned


class WordPairsConfig(Choice):
    """How far a word looks, how frequent words are thinned, and which path computes."""

    kind: str
    window: int = Field(5, ge=1)
    subsample: float = Field(1e-4, ge=0, lt=1)
    engine: Literal["kernel", "equation"] = "kernel"


class Rated(Protocol):
    """What the kernels ask of an optimizer: the rate, which a schedule moves."""

    param_groups: list[dict[str, Any]]


class WordPairs(Objective):
    """A loss summed over the pairs of a slice of text, and counted per word read; parts["pairs"] is pairs per word.

    Two paths. The equation: all pairs of the slice at once, by autograd, on any device. The kernel: the model's tables
    move pair by pair while the text is read, at the rate of the optimizer attached, as the papers' programs do; the
    total then carries no graph. In skip-gram they differ in who predicts whom (the centre its context, or the reverse
    as in word2vec's program): over a text the pairs are the same. Needs a Word2Vec.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.optimizer: Rated | None = None
        self.draws: Draws | None = None  # of the vocabulary, made when first needed

    @property
    def moves_weights(self) -> bool:  # type: ignore[override]
        """Whether an engine takes the steps, at the optimizer's rate, or the optimizer itself."""
        return self.config.engine == "kernel"

    def __call__(self, model: Word2Vec, batch: CorpusBatch) -> Loss:
        return self.by_kernel(model, batch) if self.config.engine == "kernel" else self.by_equation(model, batch)

    def prepare(self, model: Any, optimizer: Rated) -> None:
        """Take the optimizer whose rate the kernel reads, and have the kernel compiled, outside of any budget."""
        self.optimizer = optimizer
        if self.moves_weights:
            nothing = CorpusBatch(torch.zeros(0, dtype=torch.int32), torch.zeros(0, dtype=torch.int64), seed=0)
            self.by_kernel(model, nothing)

    def settings(self) -> Settings:
        """Return what the compiled loops are told: the window, and how many negatives each pair has."""
        return Settings(self.config.window, 0, 0)

    @abstractmethod
    def losses(self, model: Word2Vec, hidden: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of each pair: what predicts, hidden (N, d), and the word to be predicted, target (N,) -> (N,)."""

    @abstractmethod
    def kernel(self, model: Word2Vec, settings: Settings) -> tuple[Any, ...]:
        """The compiled function, and what stands between its tables and its learning rate."""

    def by_equation(self, model: Word2Vec, batch: CorpusBatch) -> Loss:
        device = batch.ids.device
        generator = torch.Generator(device).manual_seed(batch.seed)
        keep = torch.from_numpy(keep_probability(model.vocabulary.counts, self.config.subsample)).to(device)
        centre, context, mask = windows(batch, keep, self.config.window, generator)
        if model.config.architecture == "skipgram":
            rows, places = mask.nonzero(as_tuple=True)
            hidden, target = model.vector(centre)[rows], context[rows, places]
        else:
            rows = mask.any(dim=1)
            hidden, target = model.context(context[rows], mask[rows]), centre[rows]
        total = self.losses(model, hidden, target, generator).sum()
        return Loss(total, len(batch.ids), batch.n_read, {"pairs": torch.tensor(float(len(target)))})

    def by_kernel(self, model: Word2Vec, batch: CorpusBatch) -> Loss:
        on_the_cpu(batch.ids)
        if self.optimizer is None:
            raise RecipeError("the kernels move the weights themselves, at a rate that they lack", fix="call prepare()")
        train, *given = self.kernel(model, self.settings())
        loss, pairs = in_threads(
            train, batch.ids.numpy(), batch.ends.numpy(), states(batch.seed, torch.get_num_threads()),
            aligned(model.input), aligned(model.output), *given, self.optimizer.param_groups[0]["lr"],
        )  # fmt: skip
        return Loss(torch.tensor(loss), len(batch.ids), batch.n_read, {"pairs": torch.tensor(float(pairs))})

    def drawn(self, model: Word2Vec) -> Draws:
        """The tables that words are dropped and negatives drawn by."""
        if self.draws is None:
            self.draws = draws(model.vocabulary.counts, sample=self.config.subsample)
        return self.draws


def on_the_cpu(ids: Tensor) -> None:
    """Raise RecipeError where a batch lies elsewhere: no kernel goes there."""
    if ids.device.type != "cpu":
        raise RecipeError(
            "the word-vector kernels run on the CPU", where="train.device",
            fix='set train.device="cpu" (the fast way), or objective.engine="equation"',
        )  # fmt: skip


def parts_of(model: Word2Vec) -> Parts:
    """The rows of each word, as the kernels want them."""
    return Parts(*model.parts)

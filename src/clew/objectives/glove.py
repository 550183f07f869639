"""GloVe's objective: weighted least squares on the logarithms of co-occurrence counts."""

from __future__ import annotations

import tempfile
import weakref
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adagrad, Optimizer

from clew.batches import CooccurrenceBatch
from clew.config import Choice, TrainConfig
from clew.contracts import Loss, Objective
from clew.data.cooccurrence import CooccurrenceLoader, count_to
from clew.errors import RecipeError
from clew.kernels.glove import sums, train_slice
from clew.models.glove import GloVe
from clew.models.word2vec import aligned
from clew.objectives.word_pairs import on_the_cpu


def weighted_squares(scores: Tensor, counts: Tensor, x_max: float, power: float) -> Tensor:
    """½ f(X)(s − log X)² with f(X) = min(1, (X / x_max)^power) (Pennington et al. 2014, eq. 8 and 9); all (N,).

    The ½ is that of the authors' program: the cost it prints is the mean of this.
    """
    weights = (counts / x_max).pow(power).clamp(max=1)
    return 0.5 * weights * (scores - counts.log()).square()


class CooccurrenceConfig(Choice):
    """What is counted, how counts weigh, how many MB counting may take, and which path computes."""

    kind: str = "glove"
    window: int = Field(15, ge=1)
    x_max: float = Field(100.0, gt=0)  # from this count on, every entry weighs the same
    power: float = Field(0.75, ge=0)  # α: how weights fall below x_max
    memory_mb: int = Field(1000, ge=1)  # beside that, about 40 bytes per word of the vocabulary
    engine: Literal["kernel", "equation"] = "kernel"


class WeightedLeastSquares(Objective):
    """The loss summed over the entries of a slice of the co-occurrence matrix, and counted per entry.

    Two paths. The equation: a whole slice at once, by autograd, on any device, with any optimizer. The kernel: a step
    of AdaGrad per entry, as the authors' program takes them; it moves the model's tables and the sums that the
    optimizer attached keeps, which must be torch's Adagrad, and the total carries no graph. Needs a GloVe.
    """

    Config = CooccurrenceConfig

    def __init__(self, config: CooccurrenceConfig) -> None:
        super().__init__(config)
        self.optimizer: Optimizer | None = None
        self.sums: tuple[np.ndarray, np.ndarray] | None = None  # AdaGrad's, as the kernel wants them

    def prepare(self, model: Any, optimizer: Optimizer) -> None:
        """Take the optimizer whose sums the kernel moves, and have the kernel compiled, outside of any budget."""
        self.optimizer = optimizer
        if self.config.engine == "kernel":
            ids = torch.zeros(0, dtype=torch.int32)
            self.by_kernel(model, CooccurrenceBatch(ids, ids, torch.zeros(0)))

    def loader(self, corpus: Any, train: TrainConfig) -> CooccurrenceLoader:
        """Return the co-occurrences of a corpus, counted into a temporary folder that goes with them.

        `train.batch.tokens` are entries here.
        """
        folder = tempfile.TemporaryDirectory(prefix="clew-")
        matrix = count_to(
            folder.name, corpus.ids, corpus.ends, window=self.config.window,
            batch_entries=train.batch.of_tokens("co-occurrences"), memory_mb=self.config.memory_mb, seed=corpus.seed,
        )  # fmt: skip
        loader = CooccurrenceLoader(matrix)
        weakref.finalize(loader, folder.cleanup)
        return loader

    def __call__(self, model: GloVe, batch: CooccurrenceBatch) -> Loss:
        return self.by_kernel(model, batch) if self.config.engine == "kernel" else self.by_equation(model, batch)

    def by_equation(self, model: GloVe, batch: CooccurrenceBatch) -> Loss:
        scores = model(batch.rows.long(), batch.cols.long())
        losses = weighted_squares(scores, batch.counts, self.config.x_max, self.config.power)
        return Loss(losses.sum(), len(losses), batch.n_read)

    def by_kernel(self, model: GloVe, batch: CooccurrenceBatch) -> Loss:
        on_the_cpu(batch.rows)
        if not isinstance(self.optimizer, Adagrad):
            raise RecipeError(
                "GloVe's kernel takes the steps of AdaGrad", where="train.optimizer.kind",
                fix='set train.optimizer.kind="adagrad" (prepare() hands it over), or objective.engine="equation"',
            )  # fmt: skip
        if any(group["weight_decay"] for group in self.optimizer.param_groups):
            raise RecipeError(
                "GloVe's kernel knows no weight decay", where="train.optimizer.weight_decay",
                fix='set it to 0, or objective.engine="equation"',
            )  # fmt: skip
        word_sums, context_sums = self.sums_of(model, self.optimizer)
        loss = train_slice(
            batch.rows.numpy(), batch.cols.numpy(), batch.counts.numpy(),
            (aligned(model.word), word_sums), (aligned(model.context), context_sums),
            self.config.x_max, self.config.power, self.optimizer.param_groups[0]["lr"], torch.get_num_threads(),
        )  # fmt: skip
        return Loss(torch.tensor(loss), len(batch.rows), batch.n_read)

    def sums_of(self, model: GloVe, optimizer: Adagrad) -> tuple[np.ndarray, np.ndarray]:
        """AdaGrad's sums in the kernel's rows; the optimizer's own become views of them, again after loading."""
        n, d = model.word.shape
        if self.sums is None:
            self.sums = sums(n, d)
        word, context = (torch.from_numpy(table) for table in self.sums)
        for parameter, view in (
            (model.word, word[:, :d]), (model.word_bias, word[:, d]),
            (model.context, context[:, :d]), (model.context_bias, context[:, d + 1]),
        ):  # fmt: skip
            state = optimizer.state[parameter]
            if state["sum"].data_ptr() != view.data_ptr():
                state["sum"] = view.copy_(state["sum"])
        return self.sums

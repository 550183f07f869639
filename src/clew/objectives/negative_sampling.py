"""Negative sampling: tell the words that stood together from words drawn at random."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from clew.config import Choice
from clew.data.corpus import CorpusBatch, keep_probability, noise, windows
from clew.errors import RecipeError
from clew.kernels import sgns
from clew.kernels.sampling import Draws, draws, in_threads, states
from clew.models.word2vec import Word2Vec, aligned
from clew.objectives.loss import Loss


def negative_sampling(hidden: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
    """-log σ(u_c·v_w) - Σ_i log σ(-u_{n_i}·v_w) of each pair (Mikolov et al. 2013b, eq. 4).

    hidden v_w (N, d), positive u_c (N, d), negatives u_n (N, k, d) -> (N,).
    """
    agree = torch.einsum("nd,nd->n", positive, hidden)
    disagree = torch.einsum("nkd,nd->nk", negatives, hidden)
    return -F.logsigmoid(agree) - F.logsigmoid(-disagree).sum(dim=1)


class NegativeSamplingConfig(Choice):
    """How pairs are drawn, and by what engine.

    share: neighbouring centres that share their negatives, which makes small matrix products of their pairs (Ji et al.
    2016); 0: every pair has its own, as in word2vec's own program.
    """

    kind: str = "negative_sampling"
    window: int = Field(5, ge=1)
    negatives: int = Field(5, ge=1)
    subsample: float = Field(1e-4, ge=0, lt=1)
    share: int = Field(2, ge=0, le=8)
    engine: Literal["kernel", "equation"] = "kernel"


class NegativeSampling:
    """Skip-gram and CBOW with negative sampling: summed over the pairs of a slice of text, counted per word read.

    Two paths. The equation, by autograd, on any device: every pair has its own negatives, P ∝ count^¾. The kernel, which
    moves the model's tables pair by pair while it reads, at the rate that `optimizer` stands at; its total carries no
    graph. Needs a Word2Vec. parts["pairs"]: pairs per word, so that loss / pairs is the loss of a pair.
    """

    Config = NegativeSamplingConfig
    optimizer: Optimizer | None = None  # set by whoever trains

    def __init__(self, config: NegativeSamplingConfig) -> None:
        self.config = config
        self.tables: Draws | None = None  # of the vocabulary, made when first needed

    def __call__(self, model: Word2Vec, batch: CorpusBatch) -> Loss:
        return self.by_kernel(model, batch) if self.config.engine == "kernel" else self.by_equation(model, batch)

    def by_equation(self, model: Word2Vec, batch: CorpusBatch) -> Loss:
        config, counts, device = self.config, model.vocabulary.counts, batch.ids.device
        generator = torch.Generator(device).manual_seed(batch.seed)
        keep = torch.from_numpy(keep_probability(counts, config.subsample)).to(device)
        centre, context, mask = windows(batch, keep, config.window, generator)
        if model.config.architecture == "skipgram":
            rows, places = mask.nonzero(as_tuple=True)
            hidden, positive = model.vector(centre)[rows], context[rows, places]
        else:
            rows = mask.any(dim=1).nonzero().squeeze(1)
            hidden, positive = model.hidden(centre, context, mask)[rows], centre[rows]
        weights = torch.from_numpy(noise(counts)).to(device)
        draws = torch.multinomial(weights, len(positive) * config.negatives, replacement=True, generator=generator)
        negatives = draws.view(-1, config.negatives)
        losses = negative_sampling(hidden, model.output[positive], model.output[negatives])
        return Loss(losses.sum(), len(batch.ids), {"pairs": torch.tensor(float(len(positive)))})

    def by_kernel(self, model: Word2Vec, batch: CorpusBatch) -> Loss:
        if batch.ids.device.type != "cpu":
            raise RecipeError(
                "the word-vector kernels run on the CPU", where="train.device",
                fix='set train.device="cpu" (the fast way), or objective.engine="equation"',
            )  # fmt: skip
        assert self.optimizer is not None
        lr = self.optimizer.param_groups[0]["lr"]
        if self.tables is None:
            self.tables = draws(model.vocabulary.counts, sample=self.config.subsample)
        loss, pairs = in_threads(
            sgns.train_slice, batch.ids.numpy(), batch.ends.numpy(), states(batch.seed, torch.get_num_threads()),
            aligned(model.input), aligned(model.output), self.tables,
            sgns.Settings(self.config.window, self.config.negatives, self.config.share), lr,
        )  # fmt: skip
        return Loss(torch.tensor(loss), len(batch.ids), {"pairs": torch.tensor(float(pairs))})

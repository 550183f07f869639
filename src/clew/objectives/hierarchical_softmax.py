"""Hierarchical softmax: a word's probability as the decisions on the way to it through a tree."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clew.errors import RecipeError
from clew.kernels import hierarchical
from clew.kernels.sampling import Settings
from clew.models.word2vec import Word2Vec
from clew.objectives.word_pairs import WordPairs, WordPairsConfig, parts_of


def path_loss(hidden: Tensor, nodes: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """-Σ_j log σ(±u_j·h) over the nodes on the way to a word, + where the label is 1 (Mikolov et al. 2013b, eq. 3).

    hidden (N, d), nodes (N, L, d) rows of the output table, labels (N, L) 0 or 1, mask (N, L) True = a node -> (N,).
    """
    scores = torch.einsum("nld,nd->nl", nodes, hidden)
    return -(F.logsigmoid(torch.where(labels > 0, scores, -scores)) * mask).sum(dim=1)


class HierarchicalSoftmaxConfig(WordPairsConfig):
    """No negatives: about log2 V decisions a word."""

    kind: str = "hierarchical_softmax"


class HierarchicalSoftmax(WordPairs):
    """Skip-gram and CBOW over a Huffman tree of the counts; the output rows are its V - 1 inner nodes."""

    Config = HierarchicalSoftmaxConfig

    def __init__(self, config: HierarchicalSoftmaxConfig) -> None:
        super().__init__(config)
        self.tree = cache(lambda model: hierarchical.tree(model.vocabulary.counts))

    def losses(self, model: Word2Vec, hidden: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
        tree, words = self.tree(model), target.numpy(force=True)
        lengths = tree.bounds[words + 1] - tree.bounds[words]
        mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
        places = np.where(mask, tree.bounds[words][:, None] + np.arange(mask.shape[1]), 0)
        nodes, labels, inside = (
            torch.from_numpy(a).to(target.device) for a in (tree.nodes[places], tree.labels[places], mask)
        )
        return path_loss(hidden, model.output[nodes], labels, inside)

    def kernel(self, model: Word2Vec, settings: Settings) -> tuple[Any, ...]:
        if model.config.architecture == "skipgram" and model.config.max_n:
            raise RecipeError(
                "no kernel has skip-gram over n-grams with hierarchical softmax", where="objective",
                fix='set objective.kind="negative_sampling", model.architecture="cbow" or objective.engine="equation"',
            )  # fmt: skip
        parts = parts_of(model) if model.config.architecture == "cbow" else None
        return hierarchical.train_slice, parts, self.drawn(model), self.tree(model), settings

"""What each target token looks at: attention maps of sentences, merged to words, read as alignments.

Row t of target-to-source attention belongs to the state that predicts y_t: a recurrent decoder looks before it writes,
and a Transformer's query at position t holds y_{t-1}, its input, while its output there is y_t. So row t is read as the
alignment of y_t in every model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.errors import ClewError
from clew.inspect.taps import capture
from clew.metrics.alignment import Alignment, Links, aer


@torch.no_grad()
def attention_maps(model: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
    """Run the model over a batch and return its target-to-source attention: tap name → (batch, heads, target, source).

    The target is given (teacher forcing), dropout is off, rows sum to 1; rows and columns of padding are for the caller
    to cut off. Empty where the model has no such attention.
    """
    pattern = str(model.target_attention)
    if not pattern:
        return {}
    was_training = model.training
    model.eval()
    try:
        with capture(model, pattern) as seen:
            model(batch)
    finally:
        model.train(was_training)
    return {
        name: torch.cat(weights, dim=2) for name, weights in seen.items()
    }  # a recurrent decoder calls it every step


def sentence_maps(maps: Mapping[str, Tensor], row: int, n_target: int, n_source: int) -> dict[str, Tensor]:
    """Cut one sentence out of a batch of maps: name → (n_target, n_source), each head under its own name.

    A layer of several heads gives its mean under the layer's name, then "name[h]" for each head h.
    """
    out: dict[str, Tensor] = {}
    for name, weights in maps.items():
        heads = weights[row, :, :n_target, :n_source]
        out[name] = heads.mean(dim=0)
        if len(heads) > 1:
            out |= {f"{name}[{head}]": heads[head] for head in range(len(heads))}
    return out


def merge_subwords(weights: Any, target_words: Sequence[int], source_words: Sequence[int]) -> Tensor:
    """Turn attention between sub-words into attention between words: (target words, source words).

    weights: (T, S), row t attending to sub-words s; target_words, source_words: the word of each sub-word, from 0.
    A word receives the sum of what its sub-words receive, and gives the mean of what its sub-words give. Rows and
    columns past the ids (</s>) belong to no word: what a row gives to them is missing from its sum.
    """
    weights = torch.as_tensor(weights, dtype=torch.float32)
    if len(target_words) > weights.shape[0] or len(source_words) > weights.shape[1]:
        raise ClewError(
            f"attention of shape {tuple(weights.shape)} is too small for {len(target_words)} target and "
            f"{len(source_words)} source sub-words"
        )
    target, source = _members(target_words), _members(source_words)
    counts = target.sum(dim=1, keepdim=True).clamp(min=1)
    return (target / counts) @ weights[: len(target_words), : len(source_words)] @ source.T


def _members(words: Sequence[int]) -> Tensor:
    """(words, sub-words): 1 where the sub-word belongs to the word."""
    ids = torch.as_tensor(words, dtype=torch.long)
    size = int(ids.max()) + 1 if len(ids) else 0
    return (torch.arange(size)[:, None] == ids).float()


def salient(weights: Any) -> list[int]:
    """For each target token, the source token that it attends to most."""
    weights = torch.as_tensor(weights)
    return weights.argmax(dim=1).tolist() if weights.shape[1] else []


def align(weights: Any, *, least: float = 0.0) -> Links:
    """Read word attention (target words, source words) as links (source, target): each target word's largest weight.

    As in Garg et al. (2019), what is given to no word (</s>) does not compete: a word is aligned to nothing only where
    its largest weight is not above `least`.
    """
    weights = torch.as_tensor(weights)
    if not weights.shape[1]:
        return set()
    largest, source = (found.tolist() for found in weights.max(dim=1))
    return {(s, t) for t, (s, weight) in enumerate(zip(source, largest, strict=True)) if weight > least}


def best_map(
    sentences: Sequence[Mapping[str, Any]], sure: Sequence[Links], possible: Sequence[Links] | None = None
) -> tuple[str, Alignment]:
    """Choose, among the named word-attention maps of each sentence, the name whose alignment has the lowest AER.

    To report an error rate of a model with many heads, choose on validation sentences and measure on others.
    Raises ClewError where there is no map to choose from.
    """
    if not sentences or not sentences[0]:
        raise ClewError("there is no attention to align with")
    scores = {name: aer([align(maps[name]) for maps in sentences], sure, possible) for name in sentences[0]}
    return min(scores.items(), key=lambda item: item[1].aer)

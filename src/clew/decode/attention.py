"""What each target token looks at while a translator reads a pair: attention maps of batches and of sentences.

Row t of target-to-source attention belongs to the state that predicts y_t: a recurrent decoder looks before it writes,
and a Transformer's query at position t holds y_{t-1}, its input, while its output there is y_t. So row t is read as the
alignment of y_t in every model.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.nn.taps import capture, evaluating


def attention_maps(model: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
    """Run the model over a batch and return its target-to-source attention: tap name → (batch, heads, target, source).

    The target is given (teacher forcing), dropout is off, rows sum to 1; rows and columns of padding are for the caller
    to cut off. Empty where the model has no such attention. The maps lie on the CPU.
    """
    pattern = str(model.target_attention)
    if not pattern:
        return {}
    with evaluating(model), capture(model, pattern) as seen:
        model(batch)
    # A recurrent decoder calls it every step.
    return {name: torch.cat(weights, dim=2).cpu() for name, weights in seen.items()}


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

"""What a layer of a Transformer says of itself, so that others can follow what passes through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Part:
    """One part of a layer, f, and its norm, by the names of their modules: x + f(norm(x)), or norm(x + f(x)).

    place: of an attention, "encoder" or "decoder" (self-attention; causal) or "cross" (of a decoder to an encoder).
    """

    module: str
    norm: str
    place: str = ""


class Layer(nn.Module):
    """Residual parts one after another: attentions, then feed-forward. A layer of one's own names its parts.

    A layer that reads without padding is given the `packing` of its batch by that keyword, and `only`: (n,) the tokens
    whose states are wanted, where that is not all.
    """

    attentions: Sequence[Part] = ()
    feedforward_part = Part("feedforward", "feedforward_norm")
    pre: bool = True  # whether the norms stand before the parts, or after the sums


ENCODER_PART = Part("attention", "attention_norm", "encoder")
DECODER_PART = Part("attention", "attention_norm", "decoder")
CROSS_PART = Part("cross_attention", "cross_norm", "cross")

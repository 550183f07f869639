"""Write a Transformer run as a CTranslate2 model: a C++ engine for translators, with int8 kernels of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from clew.errors import MissingExtra, RecipeError
from clew.models.transformer import DecoderLayer, EncoderLayer
from clew.nn.attention import MultiHeadAttention
from clew.nn.feedforward import FeedForward
from clew.nn.positions import sinusoids
from clew.text.tokenizer_pair import TokenizerPair

POSITIONS = 1024  # rows of the position table that is written


def export(model: Any, preprocessor: TokenizerPair, folder: Path, *, quantization: str | None = None) -> None:
    """Write `model` to `folder` for `ctranslate2.Translator`; sources there are token lists ending in </s> ([SEP]).

    quantization: what CTranslate2 knows (int8, int16, float16, …), None for float32.
    Raises RecipeError for a model that CTranslate2 has no form for, MissingExtra where it is not installed.
    """
    try:
        from ctranslate2.specs import common_spec, transformer_spec
    except ImportError as error:
        raise MissingExtra(
            "exporting to CTranslate2 needs its package", fix="pip install 'clew[ctranslate2]'"
        ) from error
    if "ctranslate2" not in model.exports or model.config.positions != "sinusoidal":
        raise RecipeError(
            f"CTranslate2 has no form for {type(model).__name__}",
            where="model", fix='export a model of kind "transformer" with positions = "sinusoidal"',
        )  # fmt: skip
    config = model.config
    activation = {
        "relu": common_spec.Activation.RELU, "gelu": common_spec.Activation.GELU, "silu": common_spec.Activation.SWISH,
    }[config.activation]  # fmt: skip
    layers = (config.n_encoder_layers, config.n_decoder_layers)
    spec = transformer_spec.TransformerSpec.from_config(
        layers, config.n_heads, pre_norm=config.norm == "pre", activation=activation
    )
    table = sinusoids(POSITIONS, config.d_model)
    for part, stack in ((spec.encoder, model.encoder), (spec.decoder, model.decoder)):
        part.position_encodings.encodings = array(table)
        if config.norm == "pre":
            norm(part.layer_norm, cast(nn.LayerNorm, stack.norm))
    spec.encoder.embeddings[0].weight = array(model.source_embedding.weight)
    spec.decoder.embeddings.weight = array(model.target_embedding.weight)
    linear(spec.decoder.projection, *model.output_table())
    for target, layer in zip(spec.encoder.layer, model.encoder.layers, strict=True):
        encoder_layer(target, cast(EncoderLayer, layer))
    for target, layer in zip(spec.decoder.layer, model.decoder.layers, strict=True):
        decoder_layer(target, cast(DecoderLayer, layer))
    spec.register_source_vocabulary(vocabulary(preprocessor.source.inner))
    spec.register_target_vocabulary(vocabulary(preprocessor.target.inner))
    names = preprocessor.target.specials
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = names.unk, names.bos, names.eos
    spec.config.decoder_start_token = names.bos
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


def encoder_layer(target: Any, layer: EncoderLayer) -> None:
    self_attention(target.self_attention, layer.attention)
    norm(target.self_attention.layer_norm, layer.around_attention.norm)
    feedforward(target.ffn, layer.feedforward, layer.around_feedforward.norm)


def decoder_layer(target: Any, layer: DecoderLayer) -> None:
    self_attention(target.self_attention, layer.self_attention)
    norm(target.self_attention.layer_norm, layer.around_self.norm)
    cross = layer.cross_attention
    joined(target.attention.linear[0], cross.query)
    joined(target.attention.linear[1], cross.key, cross.value)
    joined(target.attention.linear[2], cross.output)
    norm(target.attention.layer_norm, layer.around_cross.norm)
    feedforward(target.ffn, layer.feedforward, layer.around_feedforward.norm)


def self_attention(target: Any, attention: MultiHeadAttention) -> None:
    joined(target.linear[0], attention.query, attention.key, attention.value)
    joined(target.linear[1], attention.output)


def feedforward(target: Any, layer: FeedForward, layer_norm: nn.LayerNorm) -> None:
    norm(target.layer_norm, layer_norm)
    joined(target.linear_0, layer.inner)
    joined(target.linear_1, layer.outer)


def joined(target: Any, *layers: nn.Linear) -> None:
    """Several linear maps of one input as one: their outputs side by side."""
    linear(target, torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers]))


def linear(target: Any, weight: Tensor, bias: Tensor) -> None:
    target.weight, target.bias = array(weight), array(bias)


def norm(target: Any, layer: nn.LayerNorm) -> None:
    target.gamma, target.beta = array(layer.weight), array(layer.bias)


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().contiguous().numpy()


def vocabulary(tokenizer: Any) -> list[str]:
    """The tokens in the order of their ids."""
    return [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]

"""T5 as transformers keeps it: `config.json`, and the weights of `T5ForConditionalGeneration`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from clew.errors import RunError
from clew.hub.names import listed
from clew.hub.transformers_folder import check_tensors, write_tokenizer
from clew.models.t5 import T5, T5Config
from clew.nn.low_rank import merged_state
from clew.text.tokenizer_files import write
from clew.text.tokenizer_pair import TokenizerPair

# Ours → theirs, where one is just the other.
SETTINGS = {
    "d_model": "d_model", "d_kv": "d_kv", "d_ff": "d_ff", "n_heads": "num_heads",
    "n_encoder_layers": "num_layers", "n_decoder_layers": "num_decoder_layers",
    "buckets": "relative_attention_num_buckets", "max_distance": "relative_attention_max_distance",
    "dropout": "dropout_rate", "norm_eps": "layer_norm_epsilon",
}  # fmt: skip
ACTIVATIONS = {"relu": "relu", "gated_gelu": "gated-gelu"}

# A layer's modules, ours → theirs, in an encoder and, where the feed-forward comes third, in a decoder.
ATTENTION = {"query": "q", "key": "k", "value": "v", "output": "o"}
SELF = {f"attention.{a}": f"layer.0.SelfAttention.{b}" for a, b in ATTENTION.items()}
CROSS = {f"cross_attention.{a}": f"layer.1.EncDecAttention.{b}" for a, b in ATTENTION.items()}
NORMS = {"attention_norm": "layer.0.layer_norm", "cross_norm": "layer.1.layer_norm"}
TIED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
LEFT_OVER = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"  # in published files


def names(config: T5Config) -> dict[str, str]:
    """The names of the modules that hold weights, ours → transformers'."""
    table = {"embedding": "shared"} | ({} if config.share_output else {"output": "lm_head"})
    inner = {"inner": "wi"} if config.activation == "relu" else {"gate": "wi_0", "inner": "wi_1"}
    for stack, n, feedforward in (
        ("encoder", config.n_encoder_layers, "layer.1"),
        ("decoder", config.n_decoder_layers, "layer.2"),
    ):
        layer = SELF | {k: v for k, v in NORMS.items() if stack == "decoder" or k == "attention_norm"}
        layer |= CROSS if stack == "decoder" else {}
        layer |= {f"feedforward.{a}": f"{feedforward}.DenseReluDense.{b}" for a, b in (inner | {"outer": "wo"}).items()}
        layer |= {"feedforward_norm": f"{feedforward}.layer_norm"}
        table |= {f"{stack}.layers.{i}.{a}": f"{stack}.block.{i}.{b}" for i in range(n) for a, b in layer.items()}
        table[f"{stack}.positions.bias"] = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"
        table[f"{stack}.norm"] = f"{stack}.final_layer_norm"
    return table


def config_to_hf(model: T5, ids: Mapping[str, int]) -> dict[str, Any]:
    """transformers' `config.json` of a model; ids: pad_id, bos_id (with which a decoder begins) and eos_id."""
    config = model.config
    return {
        "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": True,
        **{theirs: getattr(config, ours) for ours, theirs in SETTINGS.items()},
        "feed_forward_proj": ACTIVATIONS[config.activation], "tie_word_embeddings": config.share_output,
        "scale_decoder_outputs": config.share_output, "vocab_size": model.embedding.num_embeddings,
        "pad_token_id": ids["pad_id"], "eos_token_id": ids["eos_id"], "decoder_start_token_id": ids["bos_id"],
        "initializer_factor": 1.0, "dtype": "float32",
    }  # fmt: skip


def config_from_hf(config: Mapping[str, Any], where: str) -> T5Config:
    """The sizes that transformers' `config.json` states.

    Raises RunError where it is of another family, or a setting is missing or is one that clew's T5 does not have.
    """
    if config.get("model_type") != "t5":
        raise RunError(f'model_type is "{config.get("model_type")}" there', where=where, fix='"t5" is wanted')
    known = {theirs: ours for ours, theirs in ACTIVATIONS.items()}
    activation = config.get("feed_forward_proj", "relu")
    if activation not in known:
        raise RunError(f'feed_forward_proj is "{activation}" there', where=where, fix=f"known: {', '.join(known)}")
    given = {"num_decoder_layers": config.get("num_layers"), "relative_attention_max_distance": 128} | {
        name: value for name, value in config.items() if value is not None
    }  # as transformers fills what older files leave out
    if missing := [theirs for theirs in SETTINGS.values() if given.get(theirs) is None]:
        raise RunError(f"no {listed(missing)} in it", where=where, fix="take the whole config.json of the checkpoint")
    try:
        return T5Config(
            **{ours: given[theirs] for ours, theirs in SETTINGS.items()}, activation=known[activation],
            share_output=config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True)),
        )  # fmt: skip
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RunError(f"these sizes make no T5: {wrong}", where=where) from error


def state_to_hf(model: T5) -> dict[str, Tensor]:
    """The weights of a model under transformers' names."""
    return renamed(merged_state(model), names(model.config))


def describe(folder: Path, model: T5, preprocessor: TokenizerPair, about: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' `config.json` of a model, with what clew says `about` it; what goes with it is written to `folder`:
    the tokenizer, which there ends each text with </s>, and what `generate` begins and ends with."""
    config = config_to_hf(model, preprocessor.ids)
    tokenizer, end = preprocessor.target, preprocessor.target.specials.eos
    tokenizer.inner.post_processor = TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, tokenizer.eos_id)]
    )
    write_tokenizer(folder, tokenizer)
    ids = {name: config[name] for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id")}
    write(folder / "generation_config.json", json.dumps({"max_new_tokens": 128, **ids}, indent=2) + "\n")
    return {**config, "clew": {name: value for name, value in about.items() if name not in config}}


def fill(model: T5, state: Mapping[str, Tensor], where: str) -> None:
    """Load every tensor of a model from transformers' tensors.

    Raises RunError naming what is missing, what is left over and what has another size, and where a copy of the
    embedding is none. A file that leaves the output of version 1.1 out means the embedding by it. Rows after the last
    token of the vocabulary, with which published tables are padded, are left out.
    """
    found = {name: tensor for name, tensor in state.items() if name != LEFT_OVER}
    shared = model.config.share_output
    for copy in (*TIED, "lm_head.weight") if shared else TIED:
        tensor = found.pop(copy, None)
        if tensor is not None and not torch.equal(tensor, found.setdefault("shared.weight", tensor)):
            raise RunError(f"{copy} is not shared.weight, of which it should be a copy", where=where)
    if not shared and "shared.weight" in found:
        found.setdefault("lm_head.weight", found["shared.weight"])
    for table in ("shared.weight", "lm_head.weight"):
        if table in found:
            found[table] = found[table][: model.embedding.num_embeddings]
    check_tensors(state_to_hf(model), found, where)
    model.load_state_dict(renamed(found, {b: a for a, b in names(model.config).items()}))


def renamed(state: Mapping[str, Tensor], table: Mapping[str, str]) -> dict[str, Tensor]:
    """Each tensor, all of which are weights, under the name that the table gives its module."""
    return {f"{table[name.removesuffix('.weight')]}.weight": tensor for name, tensor in state.items()}

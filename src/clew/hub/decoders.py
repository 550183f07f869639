"""GPT-2 and Llama as transformers keeps them: `config.json`, and the weights of the model with its logits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from clew.errors import RunError
from clew.hub.names import listed
from clew.hub.transformers_folder import check_tensors, write_tokenizer
from clew.models.gpt2 import GPT2, GPT2Config
from clew.models.llama import Llama, LlamaConfig
from clew.nn.low_rank import merged_state
from clew.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Family:
    """A family's names and settings, ours → transformers'; of several modules of ours the tensors are joined to one.

    fixed: what is written, and must stand there (or nothing: these are transformers' defaults) to be read. turned: its
    matrices are stored as (in, out). buffers: what older files hold, though it is no weight.
    """

    model: type[GPT2]
    config: type[GPT2Config] | type[LlamaConfig]
    architecture: str
    prefix: str
    settings: Mapping[str, str]
    fixed: Mapping[str, Any]
    outer: Mapping[str, str]
    layer: Mapping[str | tuple[str, ...], str]
    layers: str
    turned: bool = False
    buffers: str = "(?!)"

    def names(self, n_layers: int) -> dict[tuple[str, ...], str]:
        """Every module that holds weights."""
        named: dict[tuple[str, ...], str] = {(ours,): self.prefix + theirs for ours, theirs in self.outer.items()}
        for n in range(n_layers):
            for ours, theirs in self.layer.items():
                parts = (ours,) if isinstance(ours, str) else ours
                named[tuple(f"layers.{n}.{part}" for part in parts)] = f"{self.prefix}{self.layers}.{n}.{theirs}"
        return named


FAMILIES = {
    "gpt2": Family(
        model=GPT2, config=GPT2Config, architecture="GPT2LMHeadModel", prefix="transformer.", layers="h", turned=True,
        settings={
            "d_model": "n_embd", "n_heads": "n_head", "n_layers": "n_layer", "max_length": "n_positions",
            "dropout": "resid_pdrop", "norm_eps": "layer_norm_epsilon",
        },
        fixed={
            "model_type": "gpt2", "activation_function": "gelu_new", "n_inner": None, "tie_word_embeddings": True,
            "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False,
        },
        outer={"token": "wte", "position": "wpe", "norm": "ln_f"},
        layer={
            "attention_norm": "ln_1", ("attention.query", "attention.key", "attention.value"): "attn.c_attn",
            "attention.output": "attn.c_proj", "feedforward_norm": "ln_2", "feedforward.inner": "mlp.c_fc",
            "feedforward.outer": "mlp.c_proj",
        },
        buffers=r"transformer\.h\.\d+\.attn\.(masked_)?bias",
    ),
    "llama": Family(
        model=Llama, config=LlamaConfig, architecture="LlamaForCausalLM", prefix="model.", layers="layers",
        settings={
            "d_model": "hidden_size", "d_ff": "intermediate_size", "n_heads": "num_attention_heads",
            "n_groups": "num_key_value_heads", "n_layers": "num_hidden_layers", "norm_eps": "rms_norm_eps",
            "max_length": "max_position_embeddings", "tied": "tie_word_embeddings",
        },
        fixed={"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
        outer={"token": "embed_tokens", "norm": "norm"},
        layer={
            "attention_norm": "input_layernorm", "attention.query": "self_attn.q_proj",
            "attention.key": "self_attn.k_proj", "attention.value": "self_attn.v_proj",
            "attention.output": "self_attn.o_proj", "feedforward_norm": "post_attention_layernorm",
            "feedforward.gate": "mlp.gate_proj", "feedforward.inner": "mlp.up_proj",
            "feedforward.outer": "mlp.down_proj",
        },
        buffers=r".*\.rotary_emb\.inv_freq",
    ),
}  # fmt: skip


def config_to_hf(model: GPT2, eos_id: int) -> dict[str, Any]:
    """transformers' `config.json` of a model."""
    config, family = model.config, FAMILIES[model.config.kind]
    out = {
        "architectures": [family.architecture], **family.fixed,
        **{theirs: getattr(config, ours) for ours, theirs in family.settings.items()},
        "vocab_size": model.token.num_embeddings, "bos_token_id": eos_id, "eos_token_id": eos_id,
        "initializer_range": 0.02, "dtype": "float32",
    }  # fmt: skip
    if isinstance(config, GPT2Config):
        return out | {"embd_pdrop": config.dropout, "attn_pdrop": config.dropout}
    rotary = {"rope_theta": config.rotary_base, "rope_type": "default"}
    return out | {"rope_parameters": rotary, "rope_theta": config.rotary_base, "attention_dropout": config.dropout}


def config_from_hf(config: Mapping[str, Any], where: str) -> GPT2Config | LlamaConfig:
    """The sizes that transformers' `config.json` states.

    Raises RunError where it is of another family, or a setting is missing or is one that clew's model does not have.
    """
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        known = " or ".join(FAMILIES)
        raise RunError(f'model_type is "{config.get("model_type")}" there', where=where, fix=f"{known} is wanted")
    found = {"tie_word_embeddings": family.model is GPT2, **config}
    found.setdefault("num_key_value_heads", found.get("num_attention_heads"))
    wrong = {name: found[name] for name, value in family.fixed.items() if found.get(name, value) != value}
    rotary: Mapping[str, Any] = found.get("rope_parameters") or found.get("rope_scaling") or {}
    if (kind := rotary.get("rope_type", rotary.get("type", "default"))) != "default":
        wrong["rope_type"] = kind
    if wrong.get("n_inner") == 4 * found.get("n_embd", 0):
        del wrong["n_inner"]
    if wrong:
        said = ", ".join(f"{name} = {value!r}" for name, value in wrong.items())
        raise RunError(f"clew's {family.config.model_fields['kind'].default} has no such form: {said}", where=where)
    if missing := [theirs for theirs in family.settings.values() if theirs not in found]:
        raise RunError(f"no {listed(missing)} in it", where=where, fix="take the whole config.json of the checkpoint")
    sizes = {ours: found[theirs] for ours, theirs in family.settings.items()}
    if family.model is Llama:
        sizes["rotary_base"] = rotary.get("rope_theta", found.get("rope_theta", 10000.0))
        if found.get("head_dim") not in (None, sizes["d_model"] // sizes["n_heads"]):
            raise RunError(f"its heads are {found['head_dim']} wide", where=where, fix="d_model / n_heads is wanted")
    try:
        return family.config(**sizes)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RunError(f"these sizes make no model: {told}", where=where) from error


def state_to_hf(model: GPT2) -> dict[str, Tensor]:
    """The weights of a model under transformers' names, in its layout; the embeddings stand for a tied output."""
    family, state, out = FAMILIES[model.config.kind], merged_state(model), {}
    for ours, theirs in names(model).items():
        for leaf in ("weight", "bias"):
            if f"{ours[0]}.{leaf}" in state:
                joined = torch.cat([state[f"{name}.{leaf}"] for name in ours])
                out[f"{theirs}.{leaf}"] = joined.t().contiguous() if turned(family, joined, theirs) else joined
    return out


def names(model: GPT2) -> dict[tuple[str, ...], str]:
    family = FAMILIES[model.config.kind]
    untied = {("output",): "lm_head"} if getattr(model, "output", None) is not None else {}
    return family.names(model.config.n_layers) | untied


def turned(family: Family, tensor: Tensor, theirs: str) -> bool:
    """Whether the matrix of that module is stored as (in, out)."""
    return family.turned and tensor.ndim == 2 and f".{family.layers}." in theirs


def fill(model: GPT2, state: Mapping[str, Tensor], where: str) -> None:
    """Load every tensor of a model from transformers' tensors.

    Raises RunError naming what is missing, what is left over and what has another size, and where the output is tied
    to the embeddings here and is another matrix there.
    """
    family = FAMILIES[model.config.kind]
    heads = ("lm_head.", family.prefix)
    found = {name if name.startswith(heads) else family.prefix + name: tensor for name, tensor in state.items()}
    found = {name: tensor for name, tensor in found.items() if not re.fullmatch(family.buffers, name)}
    table, theirs = f"{family.prefix}{family.outer['token']}.weight", state_to_hf(model)
    if "lm_head.weight" not in theirs:
        copy = found.pop("lm_head.weight", None)
        if copy is not None and not torch.equal(copy, found.setdefault(table, copy)):
            raise RunError(f"lm_head.weight is not {table}, of which it should be a copy", where=where)
    check_tensors(theirs, found, where)
    own: dict[str, Tensor] = {}
    for ours, called in names(model).items():
        for leaf in ("weight", "bias"):
            if (tensor := found.get(f"{called}.{leaf}")) is not None:
                parts = (tensor.t() if turned(family, tensor, called) else tensor).chunk(len(ours))
                own |= {f"{name}.{leaf}": part for name, part in zip(ours, parts, strict=True)}
    model.load_state_dict(own)


def describe(folder: Path, model: GPT2, preprocessor: Tokenizer, about: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' `config.json` of a model, with what clew says `about` it; its tokenizer is written to `folder`."""
    write_tokenizer(folder, preprocessor, model_max_length=model.config.max_length, bos_token=preprocessor.specials.bos)
    config = config_to_hf(model, preprocessor.eos_id)
    return {**config, "clew": {name: value for name, value in about.items() if name not in config}}

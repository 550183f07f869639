"""BERT as transformers keeps it: `config.json`, and the weights of an encoder under a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from clew.errors import RunError
from clew.hub.names import from_hf, listed, to_hf
from clew.models.bert import Bert, BertConfig
from clew.models.heads import (
    MultipleChoice,
    Pretraining,
    SequenceClassification,
    SpanAnswering,
    TokenClassification,
)
from clew.nn.low_rank import merged_state

# Ours → theirs, where one is just the other.
SETTINGS = {
    "d_model": "hidden_size",
    "d_ff": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_layers": "num_hidden_layers",
    "max_length": "max_position_embeddings",
    "n_segments": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "norm_eps": "layer_norm_eps",
}
# What is written, and must stand there (or nothing: these are transformers' defaults) to be read.
FIXED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "tie_word_embeddings": True,
    "is_decoder": False,
    "add_cross_attention": False,
}
ARCHITECTURES: dict[type[nn.Module], str] = {
    SequenceClassification: "BertForSequenceClassification",
    TokenClassification: "BertForTokenClassification",
    MultipleChoice: "BertForMultipleChoice",
    SpanAnswering: "BertForQuestionAnswering",
}


def architecture(model: nn.Module) -> str:
    """What transformers calls an encoder under this head."""
    if isinstance(model, Pretraining):
        return "BertForPreTraining" if model.next_sentence else "BertForMaskedLM"
    return ARCHITECTURES[type(model)]


def is_bert(model: nn.Module) -> bool:
    """Whether it is an encoder of this family under a head."""
    return isinstance(getattr(model, "encoder", None), Bert)


def config_to_hf(model: Any, pad_id: int, labels: Sequence[str] = ()) -> dict[str, Any]:
    """transformers' `config.json` of a model; labels: the names of the classes of a classifier."""
    encoder: Bert = model.encoder
    out = {
        "architectures": [architecture(model)], **FIXED,
        **{theirs: getattr(encoder.config, ours) for ours, theirs in SETTINGS.items()},
        "vocab_size": encoder.embeddings.token.num_embeddings, "pad_token_id": pad_id,
        "initializer_range": 0.02, "dtype": "float32",
    }  # fmt: skip
    if isinstance(model, SequenceClassification | TokenClassification):
        n = model.output.out_features
        names = labels if len(labels) == n else [f"LABEL_{i}" for i in range(n)]
        out["id2label"] = {str(i): name for i, name in enumerate(names)}
        out["label2id"] = {name: i for i, name in enumerate(names)}
        if isinstance(model, SequenceClassification):
            out["problem_type"] = "regression" if n == 1 else "single_label_classification"
    return out


def config_from_hf(config: Mapping[str, Any], where: str) -> BertConfig:
    """The sizes that transformers' `config.json` states.

    Raises RunError where it is of another family, where a setting is missing or is one that clew's BERT does not have.
    """
    if "model_type" not in config:
        raise RunError("this config.json is not one that transformers reads: no model_type", where=where)
    for name, value in FIXED.items():
        if config.get(name, value) != value:
            raise RunError(
                f'{name} is "{config[name]}" there', where=where, fix=f'what can be read has {name} "{value}"'
            )
    if missing := [theirs for theirs in SETTINGS.values() if theirs not in config]:
        raise RunError(f"no {listed(missing)} in it", where=where, fix="take the whole config.json of the checkpoint")
    try:
        return BertConfig(**{ours: config[theirs] for ours, theirs in SETTINGS.items()})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise RunError(f"these sizes make no BERT: {wrong}", where=where) from error


def state_to_hf(model: nn.Module, where: str) -> dict[str, Tensor]:
    """The weights of an encoder and its head under transformers' names."""
    return to_hf(merged_state(model), architecture(model), where)


def fill(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load every tensor of a model from transformers' tensors of the same architecture.

    Raises RunError naming what is missing, what is left over and what has another size.
    """
    load(model, from_hf(state, where), where)


def load(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """The same from tensors under our names."""
    wanted = model.state_dict()
    theirs = to_hf({name: wanted[name] for name in wanted}, architecture(model), where)
    called = dict(zip(wanted, theirs, strict=True))
    if missing := [called[name] for name in wanted if name not in state]:
        raise RunError(f"these tensors are missing: {listed(missing)}", where=where, fix="take the whole checkpoint")
    if extra := [name for name in state if name not in wanted]:
        raise RunError(f"these tensors have no place in the model: {listed(extra)}", where=where)
    if lying := mismatched(wanted, state, called):
        raise RunError(f"these sizes differ: {listed(lying)}", where=where, fix="config.json and weights must agree")
    model.load_state_dict(dict(state))


def mismatched(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], called: Mapping[str, str]) -> list[str]:
    """One line for each tensor of another shape than the model's."""
    return [
        f"{called[name]} {list(state[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in wanted.items() if name in state and state[name].shape != tensor.shape
    ]  # fmt: skip

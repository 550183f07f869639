"""What each tensor is called here and in transformers: one table per family, read in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from clew.errors import RunError


@dataclass(frozen=True)
class Family:
    """The names of the modules that hold weights, ours → transformers'; `{}` stands for the number of a layer.

    heads: what each architecture has on top of the encoder. tied: copies of another tensor, which files may hold or
    leave out. buffers: what older files hold, though it is no weight. spelling: how older files write some names.
    """

    prefix: str  # of the encoder's names, which a file of the encoder alone leaves out
    encoder: Mapping[str, str]
    heads: Mapping[str, Mapping[str, str]]
    tied: Mapping[str, str]
    buffers: tuple[str, ...]
    spelling: Mapping[str, str]


LAYER, THEIR_LAYER = "encoder.layers.{}", "bert.encoder.layer.{}"
POOLER = {"pooler.dense": "bert.pooler.dense"}
MASKED_LM = {
    "masked_lm": "cls.predictions",
    "masked_lm.dense": "cls.predictions.transform.dense",
    "masked_lm.norm": "cls.predictions.transform.LayerNorm",
}
BERT = Family(
    prefix="bert.",
    encoder={
        "encoder.embeddings.token": "bert.embeddings.word_embeddings",
        "encoder.embeddings.position": "bert.embeddings.position_embeddings",
        "encoder.embeddings.segment": "bert.embeddings.token_type_embeddings",
        "encoder.embeddings.norm": "bert.embeddings.LayerNorm",
        f"{LAYER}.attention.query": f"{THEIR_LAYER}.attention.self.query",
        f"{LAYER}.attention.key": f"{THEIR_LAYER}.attention.self.key",
        f"{LAYER}.attention.value": f"{THEIR_LAYER}.attention.self.value",
        f"{LAYER}.attention.output": f"{THEIR_LAYER}.attention.output.dense",
        f"{LAYER}.attention_norm": f"{THEIR_LAYER}.attention.output.LayerNorm",
        f"{LAYER}.feedforward.inner": f"{THEIR_LAYER}.intermediate.dense",
        f"{LAYER}.feedforward.outer": f"{THEIR_LAYER}.output.dense",
        f"{LAYER}.feedforward_norm": f"{THEIR_LAYER}.output.LayerNorm",
    },
    heads={
        "BertModel": POOLER,
        "BertForPreTraining": POOLER | MASKED_LM | {"next_sentence": "cls.seq_relationship"},
        "BertForMaskedLM": MASKED_LM,
        "BertForSequenceClassification": POOLER | {"output": "classifier"},
        "BertForMultipleChoice": POOLER | {"output": "classifier"},
        "BertForTokenClassification": {"output": "classifier"},
        "BertForQuestionAnswering": {"output": "qa_outputs"},
    },
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    buffers=("bert.embeddings.position_ids", "bert.embeddings.token_type_ids"),
    spelling={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)
FAMILIES = {"bert": BERT}
"""Model kind → the names of its family, for those that transformers has."""


def to_hf(state: Mapping[str, Tensor], architecture: str, where: str, family: Family = BERT) -> dict[str, Tensor]:
    """Our tensors under transformers' names for that architecture. Raises RunError for one that it does not have."""
    return renamed(state, {**family.encoder, **family.heads[architecture]}, where)


def from_hf(state: Mapping[str, Tensor], where: str, family: Family = BERT) -> dict[str, Tensor]:
    """transformers' tensors, of any architecture of the family, under our names.

    Raises RunError for a tensor that no architecture has, and where a copy is not what it is a copy of.
    """
    found = {current(name, family): tensor for name, tensor in state.items()}
    for name in family.buffers:
        found.pop(name, None)
    for copy, original in family.tied.items():
        tensor = found.pop(copy, None)
        if tensor is not None and not torch.equal(tensor, found.setdefault(original, tensor)):
            raise RunError(
                f"{copy} is not {original}, of which it should be a copy", where=where,
                fix="clew ties the two: take a checkpoint with tied embeddings",
            )  # fmt: skip
    pairs = [pair for names in (family.encoder, *family.heads.values()) for pair in names.items()]
    return renamed(found, {theirs: ours for ours, theirs in pairs}, where)


def current(name: str, family: Family) -> str:
    """Today's name, with its prefix, for one of an older file or of a file of the encoder alone."""
    for old, new in family.spelling.items():
        if name.endswith(old):
            name = name.removesuffix(old) + new
    names = (*family.encoder.values(), *family.heads["BertModel"].values(), *family.buffers)
    bare = {theirs.removeprefix(family.prefix).split(".")[0] for theirs in names}
    return family.prefix + name if name.split(".")[0] in bare else name


def renamed(state: Mapping[str, Tensor], table: Mapping[str, str], where: str) -> dict[str, Tensor]:
    """Each tensor under the name that the table gives its module. Raises RunError naming those that it lacks."""
    out, unknown = {}, []
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        number = re.search(r"\.(\d+)\.", module)
        target = table.get(module.replace(number[0], ".{}.", 1) if number else module)
        if target is None:
            unknown.append(name)
        else:
            out[f"{target.format(number[1]) if number else target}.{leaf}"] = tensor
    if unknown:
        raise RunError(
            f"no tensor of this family is called {listed(unknown)}", where=where,
            fix="check that the folder holds a plain BERT (no adapters, no other heads)",
        )  # fmt: skip
    return out


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    first, *rest = [*names]
    shown = ", ".join([first, *rest[:3]])
    return shown + (f" and {len(rest) - 3:,} more" if len(rest) > 3 else "")

"""Encoders as transformers keeps them: under a head, with the names of their labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clew.contracts import Model
from clew.errors import RunError
from clew.hub.adapter import TransformersAdapter, absolute, listed, mismatched, unpadded
from clew.text.labelled_tokenizer import LabelledTokenizer

# Head → the task that a run of it has, and its objective; columns are called so until an override says more.
TASKS: dict[str, tuple[dict[str, Any], str]] = {
    "masked_lm": ({"kind": "pretrain", "max_length": 128}, "masked_lm"),
    "classify": ({"kind": "classify", "text": "text", "label": "label", "max_length": 256}, "classification"),
    "regress": ({"kind": "regress", "text": "text", "score": "score", "max_length": 256}, "regression"),
    "tag": ({"kind": "tag", "text": "words", "tags": "tags", "max_length": 256}, "classification"),
    "choose": (
        {"kind": "choose", "text": "text", "choices": ["first", "second"], "label": "label", "max_length": 128},
        "classification",
    ),
    "answer": ({"kind": "answer", "max_length": 384, "stride": 128}, "span"),
}


class EncoderAdapter(TransformersAdapter):
    """An encoder under a head."""

    def config_to_hf(self, model: Model, preprocessor: Any) -> dict[str, Any]:
        pad_id = preprocessor.spec.pad_id
        out = super().config_to_hf(model, preprocessor) | {"pad_token_id": pad_id}
        if self.layout.positions:
            out[self.layout.positions] += pad_id + 1
        if model.heads & {"classify", "tag"}:
            n = model.n_outputs
            names = preprocessor.labels if len(preprocessor.labels) == n else [f"LABEL_{i}" for i in range(n)]
            out["id2label"] = {str(i): name for i, name in enumerate(names)}
            out["label2id"] = {name: i for i, name in enumerate(names)}
        if "classify" in model.heads:
            out["problem_type"] = "regression" if model.n_outputs == 1 else "single_label_classification"
        return out

    def filled_in(self, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
        found, positions = dict(settings), self.layout.positions
        if positions in found:
            found[positions] -= found.get("pad_token_id", 1) + 1
        return found

    def write_tokenizer(self, folder: Path, model: Model, preprocessor: Any) -> None:
        preprocessor.source.save_pretrained(folder, model.max_length)

    @torch.no_grad()
    def start(self, model: Model, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], name: str) -> str:
        """Give a model the encoder of a checkpoint, and what stands on it where both have the same; say what is new.

        Raise RunError where the encoder lacks a tensor or has other sizes.
        """
        wanted = self.to_hf(model)
        theirs = unpadded(self.untied(tensors, (), name), wanted, len(model.token_table()))
        heads = {module for _, names in self.layout.heads.values() for module in names.values()}
        encoder = {n: tensor for n, tensor in wanted.items() if n.rpartition(".")[0] not in heads}
        if missing := [n for n in encoder if n not in theirs]:
            raise RunError(f"these tensors are missing: {listed(missing)}", where=name, fix="take the whole checkpoint")
        if lying := mismatched(encoder, theirs):
            raise RunError(
                f"these sizes differ: {listed(lying)}", where=name,
                fix="leave the sizes of [model] out, and use the tokenizer of what you start from",
            )  # fmt: skip
        found, own = absolute(model, self.known(model.config, theirs, name)), model.state_dict()
        same_task = self.architecture(model) == self.stated(found, settings, name)
        taken = {
            n: found[n] for n, tensor in own.items()
            if n in found and found[n].shape == tensor.shape and (same_task or not n.startswith("output."))
        }  # fmt: skip
        model.load_state_dict(taken, strict=False)
        parts = {n.split(".")[0]: n in taken for n in own}
        old, new = [p for p, there in parts.items() if there], [p for p, there in parts.items() if not there]
        return f"{' and '.join(old)} from {name}" + (f"; begun anew: {', '.join(new)}" if new else "")

    def stated(self, state: Mapping[str, Tensor], settings: Mapping[str, Any], where: str) -> str:
        """Return the architecture of a checkpoint: its tensors say it, and config.json where they leave two ways."""
        heads = self.layout.heads
        own = {name.rpartition(".")[0] for name in state} & {module for _, names in heads.values() for module in names}
        if "output" not in own:
            fitting = [name for name, (head, names) in heads.items() if head and set(names) <= own]
            return fitting[0] if fitting else next(name for name, (head, _) in heads.items() if not head)
        stated = [name for name in settings.get("architectures") or () if "output" in heads.get(name, ("", {}))[1]]
        if not stated:
            able = ", ".join(name for name, (_, names) in heads.items() if "output" in names)
            raise RunError(
                "config.json does not say what the classifier is for", where=where,
                fix=f'set its "architectures" to one of {able}',
            )  # fmt: skip
        return str(stated[0])

    def recipe(self, checkpoint: Any, name: str) -> dict[str, Any]:
        """Return what a run of a checkpoint does. Raise RunError for an encoder alone, and for one of many labels."""
        state = self.state(checkpoint)
        architecture = self.stated(state, checkpoint.settings, name)
        head = self.layout.heads[architecture][0]
        if not head:
            raise RunError(
                "this is an encoder without a head: no task can use it as it is", where=name,
                fix=f'train one that starts from it: model.start = "{name}" in a recipe',
            )  # fmt: skip
        if checkpoint.settings.get("problem_type") == "multi_label_classification":
            raise RunError(
                "this classifier gives a text any number of labels, and clew's gives it one", where=name,
                fix=f'train one that starts from it: model.start = "{name}" in a recipe',
            )  # fmt: skip
        if head == "classify" and len(state["output.weight"]) == 1:
            head = "regress"
        task, objective = TASKS[head]
        longest = self.config_from_hf(checkpoint.settings, name).max_length
        task = {**task, "max_length": min(task["max_length"], longest)}
        if head == "answer":
            task["stride"] = task["max_length"] // 3
        if head == "masked_lm" and "next_sentence.weight" not in state:
            task["next_sentence"] = False
        kind = "wordpiece" if self.layout.model_type == "bert" else "byte_bpe"
        return {"task": task, "objective": {"kind": objective}, "tokenizer": {"kind": kind}}

    def preprocessor(self, checkpoint: Any, task: Any) -> Any:
        if task.head == "masked_lm":
            return checkpoint.tokenizer
        names, n = checkpoint.settings.get("id2label") or {}, len(self.state(checkpoint)["output.weight"])
        labels = task.own_labels() or [str(names.get(str(i), f"LABEL_{i}")) for i in range(n)]
        return LabelledTokenizer(checkpoint.tokenizer, labels)

    def state(self, checkpoint: Any) -> dict[str, Tensor]:
        """Return all tensors of a checkpoint under our names."""
        where = str(checkpoint.folder)
        return self.known(None, self.untied(checkpoint.tensors, (), where), where)

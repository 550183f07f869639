"""Folders that transformers loads: written from a run, read as what a run begins with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from clew.errors import DataError, RunError
from clew.hub.bert import architecture, config_from_hf, config_to_hf, mismatched
from clew.hub.names import BERT, from_hf, listed, to_hf
from clew.models.bert import BertConfig
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_files import write

WEIGHTS = "model.safetensors"
FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*.json", "vocab.txt"]
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def describe(folder: Path, model: nn.Module, preprocessor: Any, about: Mapping[str, Any]) -> dict[str, Any]:
    """transformers' `config.json` of a model, with what clew says `about` it; its tokenizer is written to `folder`."""
    tokenizer: Tokenizer = getattr(preprocessor, "tokenizer", preprocessor)
    config = config_to_hf(model, tokenizer.pad_id, [*about.get("id2label", {}).values()])
    tokenizer.save_pretrained(folder, config["max_position_embeddings"])
    return {**config, "clew": {name: value for name, value in about.items() if name not in config}}


@dataclass(frozen=True)
class Checkpoint:
    """A BERT in a folder that transformers loads; each part is read when it is first asked for."""

    folder: Path

    @classmethod
    def find(cls, name: str | Path) -> Checkpoint:
        """A folder, a run, or a model of the hub, which is fetched (or found in its cache).

        Raises DataError where there is none, or the hub cannot be reached.
        """
        if Path(name).is_dir():
            return cls(Path(name))
        if len(Path(name).parts) > 2 or str(name).startswith((".", "/", "~")):
            raise DataError("there is no such folder", where=str(name), fix="give a run, a model folder or a hub name")
        from huggingface_hub import snapshot_download

        try:
            return cls(Path(snapshot_download(str(name), allow_patterns=FILES)))
        except Exception as error:  # the library raises many kinds: network, name, access, no cached copy
            raise DataError(
                f"neither a folder nor a model that the hub gives: {error}", where=str(name),
                fix="check the name and the network, or fetch it elsewhere and give its folder",
            ) from error  # fmt: skip

    @cached_property
    def settings(self) -> dict[str, Any]:
        """`config.json`. Raises RunError where it is missing or damaged."""
        file = self.folder / "config.json"
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"config.json cannot be read: {error}", where=str(self.folder),
                fix="give a folder that transformers' save_pretrained or clew train wrote",
            ) from error  # fmt: skip
        if not isinstance(settings, dict):
            raise RunError("config.json is no JSON object", where=str(file))
        return settings

    @cached_property
    def config(self) -> BertConfig:
        return config_from_hf(self.settings, str(self.folder / "config.json"))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Raises RunError where it is missing or has other ids than the embeddings, which T5 pads with rows of none."""
        tokenizer, rows = Tokenizer.from_folder(self.folder), self.settings.get("vocab_size")
        padded = self.settings.get("model_type") == "t5" and isinstance(rows, int) and len(tokenizer) < rows
        if len(tokenizer) != rows and not padded:
            raise RunError(
                f"the tokenizer has {len(tokenizer):,} tokens, the model {rows:,}", where=str(self.folder),
                fix="the two must agree: take the tokenizer that the model was trained with",
            )  # fmt: skip
        return tokenizer

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor, under the names of the files. Raises RunError where one is missing or damaged."""
        return {name: tensor for file in self.files for name, tensor in tensors(file).items()}

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """The same under our names. Raises RunError where a name is unknown."""
        return from_hf(self.tensors, str(self.folder))

    @property
    def files(self) -> list[Path]:
        """The files of the weights."""
        index = self.folder / f"{WEIGHTS}.index.json"
        if (self.folder / WEIGHTS).is_file():
            return [self.folder / WEIGHTS]
        if index.is_file():
            try:
                return [self.folder / name for name in sorted({*json.loads(index.read_text())["weight_map"].values()})]
            except (ValueError, KeyError, AttributeError) as error:
                raise RunError(f"this is no index of weights: {error!r}", where=str(index)) from error
        pickled = any((self.folder / name).is_file() for name in PICKLES)
        what = "its weights are pickled, and a pickle can run any code" if pickled else f"there is no {WEIGHTS}"
        raise RunError(
            what, where=str(self.folder),
            fix="where you trust them, convert them: from transformers import AutoModelForPreTraining as A; "
            f'A.from_pretrained("{self.folder}").save_pretrained("converted")',
        )  # fmt: skip

    @cached_property
    def architecture(self) -> str:
        """What stands on the encoder: the tensors say it, and config.json where they leave two ways."""
        if "masked_lm.bias" in self.state:
            return "BertForPreTraining" if "next_sentence.weight" in self.state else "BertForMaskedLM"
        stated = [name for name in self.settings.get("architectures") or () if name in BERT.heads]
        if "output.weight" not in self.state:
            return "BertModel"
        if not stated or "output" not in BERT.heads[stated[0]]:
            able = ", ".join(name for name, head in BERT.heads.items() if "output" in head)
            raise RunError(
                "config.json does not say what the classifier is for", where=str(self.folder),
                fix=f'set its "architectures" to one of {able}',
            )  # fmt: skip
        return stated[0]

    @property
    def labels(self) -> list[str]:
        """The names of the classes, in order."""
        n, names = len(self.state["output.weight"]), self.settings.get("id2label") or {}
        return [str(names.get(str(i), f"LABEL_{i}")) for i in range(n)]


def tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise RunError(f"these weights cannot be read: {error}", where=str(file), fix="fetch the file again") from error


def encoder_config(name: str | Path) -> BertConfig:
    """The sizes of an encoder in a folder, a run or the hub."""
    return Checkpoint.find(name).config


@torch.no_grad()
def start_from(model: nn.Module, name: str | Path) -> str:
    """Give a model the encoder of a checkpoint, and what stands on it where both have the same; says what is new.

    Raises RunError where the encoder lacks a tensor or has other sizes.
    """
    found = Checkpoint.find(name)
    wanted, where = model.state_dict(), str(found.folder)
    called = dict(zip(wanted, to_hf(wanted, architecture(model), where), strict=True))
    encoder = {n: tensor for n, tensor in wanted.items() if n.startswith("encoder.")}
    if missing := [called[n] for n in encoder if n not in found.state]:
        raise RunError(f"these tensors are missing: {listed(missing)}", where=where, fix="take the whole checkpoint")
    if lying := mismatched(encoder, found.state, called):
        raise RunError(
            f"these sizes differ: {listed(lying)}", where=where,
            fix="leave the sizes of [model] out, and use the tokenizer of what you start from",
        )  # fmt: skip
    same_task = architecture(model) == found.architecture
    taken = {
        n: found.state[n] for n, tensor in wanted.items()
        if n in found.state and found.state[n].shape == tensor.shape and (same_task or not n.startswith("output."))
    }  # fmt: skip
    model.load_state_dict(taken, strict=False)
    parts = {n.split(".")[0]: n in taken for n in wanted}
    old, new = [p for p, there in parts.items() if there], [p for p, there in parts.items() if not there]
    return f"{' and '.join(old)} from {name}" + (f"; begun anew: {', '.join(new)}" if new else "")


def write_tokenizer(folder: Path, tokenizer: Tokenizer, **more: Any) -> None:
    """The tokenizer of a model that is kept whole, as `AutoTokenizer` loads it."""
    tokenizer.save(folder / "tokenizer.json")
    specials = tokenizer.specials
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": specials.pad, "eos_token": specials.eos,
        "unk_token": specials.unk, "clean_up_tokenization_spaces": False, **more,
    }  # fmt: skip
    write(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")


def check_tensors(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """Raises RunError naming what is missing, what is left over and what has another size."""
    if missing := [name for name in wanted if name not in found]:
        raise RunError(f"these tensors are missing: {listed(missing)}", where=where, fix="take the whole checkpoint")
    if extra := [name for name in found if name not in wanted]:
        raise RunError(f"these tensors have no place in the model: {listed(extra)}", where=where)
    if lying := mismatched(wanted, found, {name: name for name in wanted}):
        raise RunError(f"these sizes differ: {listed(lying)}", where=where, fix="config.json and weights must agree")

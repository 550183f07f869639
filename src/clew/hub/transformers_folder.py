"""Folders that transformers loads: written from a run, read as what a run begins with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clew.config import KINDS, resolve
from clew.errors import DataError, RunError
from clew.hub.adapter import TransformersAdapter, family_of
from clew.text import published
from clew.text.tokenizer import Tokenizer
from clew.text.tokenizer_files import write

WEIGHTS = "model.safetensors"
BESIDE = ["special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", *published.MODELS]
FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*.json", *BESIDE]
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Checkpoint:
    """A model in a folder that transformers loads; each part is read when it is first asked for."""

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
    def adapter(self) -> TransformersAdapter:
        """That of the family which config.json states. Raise RunError where clew has no such family."""
        known = {kind: adapter for kind in KINDS["model"] if (adapter := family_of(resolve("model", kind)))}
        stated, heads = self.settings.get("model_type"), {*(self.settings.get("architectures") or ())}
        if stated is None:  # as the oldest files have it: the architecture says it too
            stated = next((kind for kind, adapter in known.items() if heads & {*adapter.layout.heads}), None)
        if stated in known:
            return known[stated]
        raise RunError(
            f'model_type is "{stated}" there' if stated else "it does not say of which family the model is",
            where=str(self.folder / "config.json"), fix=f'write "model_type" into it; known: {", ".join(known)}',
        )  # fmt: skip

    @cached_property
    def config(self) -> Any:
        """The settings of clew's model of these sizes."""
        return self.adapter.config_from_hf(self.settings, str(self.folder / "config.json"))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Raise RunError where it is missing or has more tokens than the embeddings, which may be padded with rows."""
        tokenizer = Tokenizer.from_folder(self.folder)
        rows = int(self.settings.get("vocab_size") or self.adapter.layout.defaults["vocab_size"])
        if len(tokenizer) > rows:
            raise RunError(
                f"the tokenizer has {len(tokenizer):,} tokens, the model {rows:,}", where=str(self.folder),
                fix="the two must agree: take the tokenizer that the model was trained with",
            )  # fmt: skip
        return tokenizer

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor, under the names of the files. Raises RunError where one is missing or damaged."""
        return {name: tensor for file in self.files for name, tensor in tensors(file).items()}

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


def tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise RunError(f"these weights cannot be read: {error}", where=str(file), fix="fetch the file again") from error


def write_tokenizer(folder: Path, tokenizer: Tokenizer, **more: Any) -> None:
    """The tokenizer of a model that is kept whole, as `AutoTokenizer` loads it."""
    tokenizer.save(folder / "tokenizer.json")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **tokenizer.told,
        "clean_up_tokenization_spaces": False,
        **more,
    }
    write(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")

"""GPT-2 and Llama as transformers keeps them, with the settings that need more than another name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clew.contracts import Model
from clew.errors import RunError
from clew.hub.adapter import TransformersAdapter
from clew.hub.transformers_folder import write_tokenizer


class DecoderAdapter(TransformersAdapter):
    """A decoder with its logits."""

    def config_to_hf(self, model: Model, preprocessor: Any) -> dict[str, Any]:
        config, end = model.config, preprocessor.eos_id
        out = super().config_to_hf(model, preprocessor) | {
            "bos_token_id": [*preprocessor.opening, end][0], "eos_token_id": end,
        }  # fmt: skip
        if "rotary_base" not in type(config).model_fields:
            return out | {"embd_pdrop": config.dropout, "attn_pdrop": config.dropout}
        rotary = {"rope_theta": config.rotary_base, "rope_type": "default"}
        return out | {"rope_parameters": rotary, "rope_theta": config.rotary_base, "attention_dropout": config.dropout}

    def filled_in(self, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the settings with what older files leave out. Raise RunError for positions that are scaled."""
        found = dict(settings)
        if found.get("num_key_value_heads") is None:
            found["num_key_value_heads"] = found.get("num_attention_heads")
        rotary = rotary_of(found)
        if (form := rotary.get("rope_type", rotary.get("type", "default"))) != "default":
            raise RunError(f"clew's {self.layout.model_type} has no such form: rope_type = {form!r}", where=where)
        if found.get("n_inner") == 4 * found.get("n_embd", 0):
            found["n_inner"] = None
        return found

    def more_settings(self, found: Mapping[str, Any], where: str) -> dict[str, Any]:
        if "rotary_base" not in self.kind.Config.model_fields:
            return {}
        width = found["hidden_size"] // found["num_attention_heads"]
        if found.get("head_dim") not in (None, width):
            raise RunError(f"its heads are {found['head_dim']} wide", where=where, fix="d_model / n_heads is wanted")
        return {"rotary_base": rotary_of(found).get("rope_theta", found.get("rope_theta", 10000.0))}

    def write_tokenizer(self, folder: Path, model: Model, preprocessor: Any) -> None:
        write_tokenizer(folder, preprocessor, model_max_length=model.max_length)

    def recipe(self, checkpoint: Any, name: str) -> dict[str, Any]:
        longest = self.config_from_hf(checkpoint.settings, name).max_length
        return {
            "task": {"kind": "language_model", "max_length": min(1024, longest)},
            "objective": {"kind": "language_model"}, "tokenizer": {"kind": "gpt2"},
            "decode": {"beam": 1, "sample": {"temperature": 0.8, "top_p": 0.95}},
        }  # fmt: skip


def rotary_of(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is said of rotary positions, wherever a version of transformers says it."""
    found: Mapping[str, Any] = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    return found

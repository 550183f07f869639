"""T5 as transformers keeps it, in its versions 1.0 and 1.1."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers.processors import TemplateProcessing
from torch import Tensor

from clew.contracts import Model
from clew.errors import RunError
from clew.hub.adapter import TransformersAdapter
from clew.hub.transformers_folder import write_tokenizer
from clew.models.layout import Names
from clew.text.tokenizer_files import write
from clew.text.tokenizer_pair import TokenizerPair

ACTIVATIONS = {"relu": "relu", "gated_gelu": "gated-gelu"}


class T5Adapter(TransformersAdapter):
    """`T5ForConditionalGeneration`."""

    def names(self, config: Any) -> Names:
        inner = "wi" if config.activation == "relu" else "wi_1"
        feedforward = {
            f"{stack}.layers.{{}}.feedforward.inner": f"{stack}.block.{{}}.{layer}.DenseReluDense.{inner}"
            for stack, layer in (("encoder", "layer.1"), ("decoder", "layer.2"))
        }
        return {**self.layout.names, **feedforward}

    def config_to_hf(self, model: Model, preprocessor: Any) -> dict[str, Any]:
        config, ids = model.config, preprocessor.ids
        return super().config_to_hf(model, preprocessor) | {
            "is_encoder_decoder": True, "feed_forward_proj": ACTIVATIONS[config.activation],
            "tie_word_embeddings": config.share_output, "scale_decoder_outputs": config.share_output,
            "pad_token_id": ids["pad_id"], "eos_token_id": ids["eos_id"], "decoder_start_token_id": ids["bos_id"],
            "initializer_factor": 1.0,
        }  # fmt: skip

    def filled_in(self, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
        found = {name: value for name, value in settings.items() if value is not None}
        return {"num_decoder_layers": found["num_layers"], **found}

    def more_settings(self, found: Mapping[str, Any], where: str) -> dict[str, Any]:
        known = {theirs: ours for ours, theirs in ACTIVATIONS.items()}
        activation = found.get("feed_forward_proj", "relu")
        if activation not in known:
            raise RunError(f'feed_forward_proj is "{activation}" there', where=where, fix=f"known: {', '.join(known)}")
        shared = found.get("scale_decoder_outputs", found.get("tie_word_embeddings", True))
        return {"activation": known[activation], "share_output": shared}

    def untied(self, tensors: Mapping[str, Tensor], wanted: Iterable[str], where: str) -> dict[str, Tensor]:
        """Return the tensors without copies.

        A file that leaves the output of version 1.1 out means the embedding by it.
        """
        found = super().untied(tensors, wanted, where)
        if "lm_head.weight" in wanted and "shared.weight" in found:
            found.setdefault("lm_head.weight", found["shared.weight"])
        return found

    def write_tokenizer(self, folder: Path, model: Model, preprocessor: Any) -> None:
        """Write the tokenizer, which there ends each text with </s>, and what `generate` begins and ends with."""
        tokenizer, end = preprocessor.target, preprocessor.target.specials.eos
        tokenizer.inner.post_processor = TemplateProcessing(
            single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, tokenizer.eos_id)]
        )
        write_tokenizer(folder, tokenizer)
        ids = preprocessor.ids
        text = {
            "max_new_tokens": 128, "pad_token_id": ids["pad_id"], "eos_token_id": ids["eos_id"],
            "decoder_start_token_id": ids["bos_id"],
        }  # fmt: skip
        write(folder / "generation_config.json", json.dumps(text, indent=2) + "\n")

    def recipe(self, checkpoint: Any, name: str) -> dict[str, Any]:
        """Return a task that fills gaps, where the vocabulary has marks for them; else one that answers texts."""
        n = sum(token.startswith("<extra_id_") for token in checkpoint.tokenizer.inner.get_vocab())
        task = {"kind": "denoise", "sentinels": n} if n else {"kind": "text_to_text", "metrics": {"text": "bleu"}}
        return {
            "task": task, "objective": {"kind": "translation", "label_smoothing": 0.0}, "decode": {"beam": 1},
            "tokenizer": {"kind": "unigram"},
        }  # fmt: skip

    def preprocessor(self, checkpoint: Any, task: Any) -> TokenizerPair:
        return TokenizerPair(checkpoint.tokenizer, checkpoint.tokenizer)

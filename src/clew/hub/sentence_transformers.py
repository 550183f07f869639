"""An encoder as a folder that sentence-transformers loads: a vector of each text by mean or [CLS] pooling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from clew.contracts import Model
from clew.errors import RecipeError
from clew.hub.adapter import family_of
from clew.tensor_file import save_file

# Theirs for each way of pooling; `clew.models.heads.sentence_vectors` gives the same vectors.
POOLING = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}


class Alone(Model):
    """An encoder, and the pooler where its head has one."""

    heads = frozenset({""})

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder, self.config = model.backbone, model.config
        poolers = dict(model.named_children()).get("pooler")
        if poolers is not None and [*poolers.parameters()]:
            self.pooler = poolers

    @property
    def backbone(self) -> Model:
        return self.encoder

    def token_table(self) -> Tensor:
        return self.encoder.token_table()


def export(model: Any, preprocessor: Any, folder: Path, *, pooling: str = "mean") -> None:
    """Write the encoder without its head. Raises RecipeError for a model that is no encoder, or an unknown pooling."""
    encoder = model.backbone
    if "sentence-transformers" not in encoder.exports:
        raise RecipeError(
            f"{type(model).__name__} gives no vectors of sentences", where="model", fix='export a model of kind "bert"'
        )
    if pooling not in POOLING:
        raise RecipeError(f'no pooling is called "{pooling}"', where="--pooling", fix=f"known: {', '.join(POOLING)}")
    place = folder / "1_Pooling"
    place.mkdir(parents=True, exist_ok=True)
    adapter = family_of(type(encoder))
    assert adapter is not None  # what is exported so has one
    save_file(adapter.to_hf(Alone(model)), folder / "model.safetensors", {"format": "pt"})
    config = adapter.config_to_hf(Alone(model), preprocessor)
    preprocessor.source.save_pretrained(folder, encoder.max_length)
    modes = {theirs: ours == pooling for ours, theirs in POOLING.items()}
    parts = [("Transformer", ""), ("Pooling", "1_Pooling")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(parts)
    ]
    limits = {"max_seq_length": encoder.max_length, "do_lower_case": False}  # the tokenizer lower-cases
    for file, content in {
        "config.json": config, "modules.json": modules, "sentence_bert_config.json": limits,
        "1_Pooling/config.json": {"word_embedding_dimension": encoder.width, **modes},
    }.items():  # fmt: skip
        (folder / file).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

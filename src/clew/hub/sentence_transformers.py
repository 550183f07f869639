"""An encoder as a folder that sentence-transformers loads: a vector of each text by mean or [CLS] pooling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clew.errors import RecipeError
from clew.hub.bert import config_to_hf, is_bert
from clew.hub.names import BERT, to_hf
from clew.tensor_file import save_file
from clew.text.tokenizer import Tokenizer

# Theirs for each way of pooling; `clew.models.heads.sentence_vectors` gives the same vectors.
POOLING = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}


def export(model: Any, preprocessor: Any, folder: Path, *, pooling: str = "mean") -> None:
    """Write the encoder without its head. Raises RecipeError for a model that is no encoder, or an unknown pooling."""
    if not is_bert(model):
        raise RecipeError(
            f"{type(model).__name__} gives no vectors of sentences", where="model", fix='export a model of kind "bert"'
        )
    if pooling not in POOLING:
        raise RecipeError(f'no pooling is called "{pooling}"', where="--pooling", fix=f"known: {', '.join(POOLING)}")
    tokenizer: Tokenizer = getattr(preprocessor, "tokenizer", preprocessor)
    place = folder / "1_Pooling"
    place.mkdir(parents=True, exist_ok=True)
    kept = ("encoder.", *BERT.heads["BertModel"])
    state = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(kept)}
    save_file(to_hf(state, "BertModel", str(folder)), folder / "model.safetensors", {"format": "pt"})
    config = {**config_to_hf(model, tokenizer.pad_id), "architectures": ["BertModel"]}
    for name in ("id2label", "label2id", "problem_type"):
        config.pop(name, None)
    tokenizer.save_pretrained(folder, config["max_position_embeddings"])
    modes = {theirs: ours == pooling for ours, theirs in POOLING.items()}
    parts = [("Transformer", ""), ("Pooling", "1_Pooling")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(parts)
    ]
    limits = {"max_seq_length": config["max_position_embeddings"], "do_lower_case": False}  # the tokenizer lower-cases
    for file, content in {
        "config.json": config, "modules.json": modules, "sentence_bert_config.json": limits,
        "1_Pooling/config.json": {"word_embedding_dimension": config["hidden_size"], **modes},
    }.items():  # fmt: skip
        (folder / file).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

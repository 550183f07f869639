"""The files of a tokenizer: `tokenizer.json`, `vocab.txt`, and the `tokenizer_config.json` of transformers."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import tokenizers as hf
from tokenizers import models, normalizers

from clew.errors import RunError
from clew.text.specials import Specials
from clew.text.wordpiece import BERT_SPECIALS, bert


def write(path: Path, text: str) -> None:
    """Write a text file whole, or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's own mode shuts out everyone else
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def inner_of_file(path: Path) -> hf.Tokenizer:
    """The tokenizer of a `tokenizer.json`; RunError where the file is missing or damaged."""
    if not path.is_file():
        raise RunError("there is no tokenizer here", where=str(path))
    try:
        return hf.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for any malformed file
        raise RunError(f"this is not a tokenizer: {error}", where=str(path)) from error


def inner_of_folder(folder: Path) -> hf.Tokenizer:
    """The tokenizer of a model folder: `tokenizer.json`, else BERT's over `vocab.txt`."""
    if (folder / "tokenizer.json").is_file():
        return inner_of_file(folder / "tokenizer.json")
    if not (folder / "vocab.txt").is_file():
        raise RunError("there is no tokenizer here", where=str(folder), fix="it needs tokenizer.json or vocab.txt")
    settings = folder / "tokenizer_config.json"
    told: Any = {}
    try:
        tokens = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
        if settings.is_file():
            told = json.loads(settings.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"this is not a tokenizer: {error}", where=str(folder)) from error
    vocabulary = {token.rstrip("\r"): i for i, token in enumerate(tokens)}
    lacking = [name for name in BERT_SPECIALS if name not in vocabulary]
    if lacking or not isinstance(told, dict):
        wrong = f"no line {', '.join(lacking)}" if lacking else "tokenizer_config.json is no JSON object"
        raise RunError(f"this is not BERT's vocabulary: {wrong}", where=str(folder))
    return bert(
        vocabulary,
        lowercase=told.get("do_lower_case", True),
        strip_accents=told.get("strip_accents"),
        chinese=told.get("tokenize_chinese_chars", True),
    )


def transformers_config(inner: hf.Tokenizer, specials: Specials, max_length: int) -> str:
    """The text of `tokenizer_config.json`: the class, the names of the special tokens and BERT's settings.

    transformers builds a `BertTokenizer` from these settings and the vocabulary, any other from `tokenizer.json`.
    """
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length}
    rule = inner.normalizer
    if isinstance(inner.model, models.WordPiece) and isinstance(rule, normalizers.BertNormalizer):
        settings |= {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": rule.lowercase,
            "strip_accents": rule.strip_accents,
            "tokenize_chinese_chars": rule.handle_chinese_chars,
        }
    settings |= {"pad_token": specials.pad, "unk_token": specials.unk, "cls_token": specials.bos}
    settings |= {"sep_token": specials.eos}
    if specials.mask:
        settings["mask_token"] = specials.mask
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"

"""The files of a tokenizer of ours: `tokenizer.json`, and the `tokenizer_config.json` of transformers."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import tokenizers as hf
from tokenizers import models, normalizers

from clew.errors import RunError
from clew.text.specials import Specials

MOST_GROWTH = 1e4


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
        inner = hf.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for any malformed file
        raise RunError(f"this is not a tokenizer: {error}", where=str(path)) from error
    for part in (inner.normalizer, inner.pre_tokenizer, inner.decoder):
        if (times := growth(json.loads(part.__getstate__()) if part else {})) > MOST_GROWTH:
            raise RunError(f"this tokenizer would write a letter as {times:.0e}", where=str(path), fix="do not use it")
    return inner


def growth(part: Any) -> float:
    """Return how many times longer a text may become by the replacements of a part, one after another."""
    if isinstance(part, list):
        return math.prod(map(growth, part))
    if not isinstance(part, dict):
        return 1.0
    own = max(1, len(part.get("content", ""))) if part.get("type") == "Replace" else 1
    return own * growth([*part.values()])


def transformers_config(inner: hf.Tokenizer, specials: Specials, max_length: int, **more: Any) -> str:
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
    return json.dumps(settings | more, indent=2, ensure_ascii=False) + "\n"

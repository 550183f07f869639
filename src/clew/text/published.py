"""The tokenizers of folders that other programs wrote: which files keep one, and what transformers makes of them.

`tokenizer.json` says all; older folders have a vocabulary (`vocab.txt`, `vocab.json` with `merges.txt`, SentencePiece's
`.model`). Beside it, as every folder may, they have `tokenizer_config.json`, `special_tokens_map.json` and
`added_tokens.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers as hf
from tokenizers import decoders, models, pre_tokenizers, processors

from clew.errors import RunError
from clew.text import sentencepiece_file
from clew.text.specials import END, MASK, SPECIALS, content
from clew.text.tokenizer_files import inner_of_file
from clew.text.wordpiece import BERT_SPECIALS, bert

# Files of SentencePiece, as T5, Llama and XLM-RoBERTa call them.
MODELS = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
FILES = ("tokenizer.json", "vocab.txt", "vocab.json with merges.txt", *MODELS)
FAIRSEQ = "sentencepiece.bpe.model"  # whose ids begin with fairseq's own four, and end with <mask>


def json_of(file: Path) -> dict[str, Any]:
    """Return the object that a file holds, nothing where there is no file. Raise RunError where it is no object."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"this is not a tokenizer: {error}", where=str(file)) from error
    if not isinstance(found, dict):
        raise RunError(f"this is not a tokenizer: {file.name} is no JSON object", where=str(file.parent))
    return found


def told_of(folder: Path) -> dict[str, Any]:
    """Return what a folder says of its tokenizer; where both files say something, the newer one counts."""
    return json_of(folder / "special_tokens_map.json") | json_of(folder / "tokenizer_config.json")


def read(folder: Path) -> tuple[hf.Tokenizer, dict[str, Any]]:
    """Return the tokenizer of a folder, and what `told_of` says; a run of clew's own takes special tokens for text.

    Raise RunError where there is none, or it is damaged.
    """
    told, config = told_of(folder), json_of(folder / "config.json")
    family = f"{told.get('tokenizer_class', '')} {config.get('model_type', '')}".lower()
    model = next((folder / name for name in MODELS if (folder / name).is_file()), None)
    if (folder / "tokenizer.json").is_file():
        inner = inner_of_file(folder / "tokenizer.json")
    elif (folder / "vocab.txt").is_file():
        inner = of_vocab_txt(folder, told)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        inner = of_merges(folder, told)
    elif model is not None:
        inner = of_pieces(model, told, family)
    else:
        raise RunError("there is no tokenizer here", where=str(folder), fix=f"it needs {' or '.join(FILES)}")
    add(inner, folder, told)
    return inner, {"split_special_tokens": "clew" in config} | told


def of_vocab_txt(folder: Path, told: Mapping[str, Any]) -> hf.Tokenizer:
    """BERT's tokenizer over its vocabulary, one token a line; a token of its own for each name that is told."""
    try:
        tokens = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except ValueError as error:
        raise RunError(f"this is not a tokenizer: {error}", where=str(folder / "vocab.txt")) from error
    vocabulary = {token.rstrip("\r"): i for i, token in enumerate(tokens)}
    if lacking := [name for name in BERT_SPECIALS if name not in vocabulary]:
        raise RunError(f"this is not BERT's vocabulary: no line {', '.join(lacking)}", where=str(folder))
    return bert(
        vocabulary, lowercase=told.get("do_lower_case", True), strip_accents=told.get("strip_accents"),
        chinese=told.get("tokenize_chinese_chars", True),
    )  # fmt: skip


def of_merges(folder: Path, told: Mapping[str, Any]) -> hf.Tokenizer:
    """GPT-2's byte-level BPE, under RoBERTa's template where the vocabulary has its special tokens."""
    try:
        model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"), fuse_unk=False)
    except Exception as error:  # the library raises bare Exception for any malformed file
        raise RunError(f"vocab.json and merges.txt cannot be read: {error}", where=str(folder)) from error
    inner, space = hf.Tokenizer(model), bool(told.get("add_prefix_space", False))
    if any(token.endswith("</w>") for token in json_of(folder / "vocab.json")):
        raise RunError("this vocabulary is not of bytes: </w> ends its words", where=str(folder / "vocab.json"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    inner.decoder = decoders.ByteLevel()
    if all(inner.token_to_id(name) is not None for name in (*SPECIALS, MASK)):
        inner.add_special_tokens([hf.AddedToken(name, special=True, lstrip=name == MASK) for name in (*SPECIALS, MASK)])
        begin, end = (inner.get_vocab()[name] for name in ("<s>", "</s>"))
        inner.post_processor = processors.RobertaProcessing(("</s>", end), ("<s>", begin), add_prefix_space=space)
    elif inner.token_to_id(END) is not None:
        inner.add_special_tokens([END])
    return inner


def of_pieces(file: Path, told: Mapping[str, Any], family: str) -> hf.Tokenizer:
    """SentencePiece's tokenizer, with T5's marks for gaps and end, XLM-RoBERTa's numbers, or what Llama puts first."""
    found = sentencepiece_file.read(file)
    pieces, n_gaps = found.pieces, int(told.get("extra_ids", 100)) if "t5" in family else 0
    gaps = [f"<extra_id_{i}>" for i in range(n_gaps)]
    kind = sentencepiece_file.CONTROL
    if file.name == FAIRSEQ:
        first = [(name, 0.0, kind) for name in ("<s>", "<pad>", "</s>")]
        unknown = ("<unk>", 0.0, sentencepiece_file.UNKNOWN)
        pieces = [*first, unknown, *pieces[3:], (MASK, 0.0, kind)]
    known = {text for text, _, _ in pieces}
    pieces = [*pieces, *((name, 0.0, kind) for name in reversed(gaps) if name not in known)]
    inner = sentencepiece_file.built(sentencepiece_file.Pieces(**{**vars(found), "pieces": pieces}))
    begin, end = (content(told.get(f"{role}_token")) or name for role, name in (("bos", "<s>"), ("eos", "</s>")))
    before = f"{begin} " * (file.name == FAIRSEQ or bool(told.get("add_bos_token", False)))
    after = f" {end}" * (file.name == FAIRSEQ or "t5" in family or bool(told.get("add_eos_token", False)))
    if before or after:
        between = f" {end}" * (file.name == FAIRSEQ) or f" {before}".rstrip()
        names = [name for name in {begin, end} if inner.token_to_id(name) is not None]
        inner.post_processor = processors.TemplateProcessing(
            single=f"{before}$A{after}", pair=f"{before}$A{after}{between} $B{after}",
            special_tokens=[(name, inner.token_to_id(name)) for name in names],
        )  # fmt: skip
    return inner


def add(inner: hf.Tokenizer, folder: Path, told: Mapping[str, Any]) -> None:
    """Add the tokens that stand beside the vocabulary, under the ids that are written there, and name the special ones.

    As transformers does: those of `tokenizer_config.json`, else of `added_tokens.json` (special where a role has them),
    then what has a role and no id. Raise RunError where an id is another one than the vocabulary has room for.
    """
    named = [value for name, value in told.items() if name.endswith("_token")]
    for more in (told.get("extra_special_tokens") or (), told.get("additional_special_tokens") or ()):
        named += more.values() if isinstance(more, dict) else more
    special = {text: value for value in named if (text := content(value))}
    added = {int(i): dict(token) for i, token in (told.get("added_tokens_decoder") or {}).items()}
    if not added:
        for text, number in json_of(folder / "added_tokens.json").items():
            added[int(number)] = {"content": text, "special": text in special, "normalized": text not in special}
    for number in sorted(added):
        token = {name: value for name, value in added[number].items() if not name.startswith("_")}
        inner.add_tokens([hf.AddedToken(**token)])
        if (found := inner.token_to_id(token["content"])) != number:
            raise RunError(
                f'"{token["content"]}" is added as {number}, and the vocabulary has it as {found}', where=str(folder),
                fix="take the vocabulary and the added tokens of the same checkpoint",
            )  # fmt: skip
    known = {token.content for token in inner.get_added_tokens_decoder().values()}
    for text, value in special.items():
        if text not in known:
            more = value if isinstance(value, dict) else {"content": value}
            settings = {name: setting for name, setting in more.items() if name != "__type"} | {"special": True}
            inner.add_special_tokens([hf.AddedToken(**settings)])

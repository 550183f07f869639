"""Tokenizers of other programs' folders: the same ids and texts as transformers makes of the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from clew.config import TokenizerConfig
from clew.errors import RunError
from clew.text.tokenizer import Tokenizer

transformers = pytest.importorskip("transformers", reason="needs the package transformers")

CORPUS = ["the cat sat on the mat beside the other cat", "a dog ran over the hill, and the bird flew off"] * 4
TEXTS = ["the cat ran", " two  spaces, a naïve 猫", "", "the<s>cat</s> [A] sat [B].", "<unk> <extra_id_0> ▁mat\tend\n"]
FAIRSEQ = ["<s>", "<pad>", "</s>", "<unk>"]


def say(folder: Path, **settings: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def byte_bpe(specials: list[str]) -> hf.Tokenizer:
    inner = hf.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        CORPUS, trainers.BpeTrainer(special_tokens=specials, vocab_size=300, initial_alphabet=alphabet)
    )
    return inner


def gpt2(folder: Path) -> None:
    byte_bpe(["<|endoftext|>"]).model.save(str(folder))
    say(folder, tokenizer_class="GPT2Tokenizer")


def roberta(folder: Path) -> None:
    byte_bpe([*FAIRSEQ, "<mask>"]).model.save(str(folder))
    say(folder, tokenizer_class="RobertaTokenizer")


def bert(folder: Path) -> None:
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat ran on mat a ##s . , [ ] b "
    (folder / "vocab.txt").write_text(words.replace(" ", "\n"))
    say(folder, tokenizer_class="BertTokenizer", do_lower_case=True)


def markers(folder: Path) -> None:
    bert(folder)
    (folder / "added_tokens.json").write_text(json.dumps({"[B]": 19, "[A]": 18}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["[A]", "[B]"]}))


def plain_markers(folder: Path) -> None:
    bert(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["[A]", "[B]", "猫"])
    tokenizer.save_pretrained(folder)


def pieces(folder: Path, name: str, **settings: Any) -> None:
    trainer = pytest.importorskip("sentencepiece", reason="needs the package sentencepiece")
    (folder / "corpus").write_text("\n".join(CORPUS))
    files = {"input": str(folder / "corpus"), "model_prefix": str(folder / "made")}
    trainer.SentencePieceTrainer.train(**files, hard_vocab_limit=False, minloglevel=2, **settings)
    (folder / "made.model").rename(folder / name)


def t5(folder: Path) -> None:
    pieces(folder, "spiece.model", vocab_size=60, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    say(folder, tokenizer_class="T5Tokenizer")


def llama2(folder: Path) -> None:
    pieces(
        folder, "tokenizer.model", vocab_size=310, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False,
    )  # fmt: skip
    say(
        folder,
        tokenizer_class="LlamaTokenizer",
        add_bos_token=True,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def xlm_roberta(folder: Path) -> None:
    pieces(folder, "sentencepiece.bpe.model", vocab_size=60)
    say(folder, tokenizer_class="XLMRobertaTokenizer")


def llama2_file(folder: Path) -> None:
    """`tokenizer.json` as Llama 2 has it: no <pad>, bytes for unknown letters, <s> before each text."""
    inner = hf.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    inner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=320, special_tokens=specials))
    told = json.loads(inner.to_str())
    told["added_tokens"] = told["added_tokens"][:3]  # bytes are no special tokens
    inner = hf.Tokenizer.from_str(json.dumps(told))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(steps)
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    inner.save(str(folder / "tokenizer.json"))
    say(folder, bos_token="<s>", eos_token="</s>", unk_token="<unk>", tokenizer_class="PreTrainedTokenizerFast")


def llama3_file(folder: Path) -> None:
    inner = byte_bpe(["<|begin_of_text|>", "<|end_of_text|>"])
    inner.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    inner.save(str(folder / "tokenizer.json"))
    say(
        folder, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>", tokenizer_class="PreTrainedTokenizerFast",
    )  # fmt: skip


MAKERS = [gpt2, roberta, bert, markers, plain_markers, t5, llama2, xlm_roberta, llama2_file, llama3_file]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf's own types
@pytest.mark.parametrize("make", MAKERS)
def test_ids_and_texts_are_those_of_transformers(tmp_path: Path, make: Any) -> None:
    make(tmp_path)
    ours, theirs = Tokenizer.from_folder(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(ours) == len(theirs)
    plain = [theirs(text, add_special_tokens=False).input_ids for text in TEXTS]
    assert ours.encode(TEXTS) == plain
    framed = [theirs(text).input_ids for text in TEXTS]
    assert [encoding.ids for encoding in ours.inner.encode_batch(TEXTS)] == framed
    if make is markers:  # transformers 5 takes them for plain ones where it decodes
        return
    texts = [theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in framed]
    assert ours.decode(framed) == (texts if ours.exact else [text.strip(" ") for text in texts])
    names = {role: getattr(ours.specials, role) for role in ("bos", "eos", "unk", "pad")}
    roles = {"bos": theirs.bos_token, "eos": theirs.eos_token, "unk": theirs.unk_token, "pad": theirs.pad_token}
    bert = {"bos": theirs.cls_token, "eos": theirs.sep_token}
    assert all(names[role] == (roles[role] or bert.get(role) or names[role]) for role in names)


@pytest.mark.parametrize("make", [markers, plain_markers, llama2_file, llama3_file, t5])
def test_it_is_the_same_in_a_run(tmp_path: Path, make: Any) -> None:
    make(tmp_path)
    ours = Tokenizer.from_folder(tmp_path)
    (tmp_path / "run").mkdir()
    ours.save(tmp_path / "run")
    again = Tokenizer.load(tmp_path / "run")
    assert again.encode(TEXTS) == ours.encode(TEXTS) and again.specials == ours.specials


def test_names_of_special_tokens_are_text_in_vocabularies_of_ours() -> None:
    ours = Tokenizer.train([*CORPUS, "<s>/[]"], TokenizerConfig(kind="bpe", vocab_size=80))
    assert not ours.special_ids & {*ours.encode(["the <s> cat </s>"])[0]}


@pytest.mark.parametrize("make", [gpt2, llama2_file, llama3_file])
def test_a_text_goes_on_with_the_space_that_stands_there(tmp_path: Path, make: Any) -> None:
    make(tmp_path)
    ours = Tokenizer.from_folder(tmp_path)
    (prompt,) = ours.encode_prompts(["the cat"])
    (whole,) = ours.encode(["the cat ran over the hill"])
    ids = whole[len(prompt) - len(ours.opening) :]
    assert ours.decode_after(prompt, ids) == " ran over the hill"
    assert prompt[: len(ours.opening)] == ours.opening and len(ours.opening) == (make is not gpt2)


FAULTS = {
    "no piece": ("tokenizer.model", b"", "no SentencePiece model"),
    "no message": ("spiece.model", b"\xff" * 40, "no SentencePiece model"),
    "a page": ("tokenizer.model", b"<!DOCTYPE html><html></html>", "no SentencePiece model"),
    "merges of nothing": ("merges.txt", b"#version: 0.2\nq w\n", "vocab.json and merges.txt cannot be read"),
    "another number": ("added_tokens.json", b'{"[A]": 77}', "added as 77, and the vocabulary has it as"),
    "a list": ("added_tokens.json", b"[]", "no JSON object"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files_are_named(tmp_path: Path, fault: str) -> None:
    name, content, said = FAULTS[fault]
    if name == "merges.txt":
        (tmp_path / "vocab.json").write_text('{"a": 0}')
    if name == "added_tokens.json":
        bert(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match=said):
        Tokenizer.from_folder(tmp_path)

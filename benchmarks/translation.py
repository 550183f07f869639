"""Translators beside their peers, in one run: training and decoding speed by CPU time, as medians and ratios.

    python benchmarks/translation.py                      # every peer installed in the folder $CLEW_PEERS
    python benchmarks/translation.py --jobs train --only clew,plain,fairseq --rounds 5

See `beside.py`. README.md says what is measured and how to install the peers.
"""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

from beside import Asked, Comparison, Jobs, Peer, arguments, parse

from clew.config import TokenizerConfig
from clew.data.catalogue import Catalogue, CatalogueConfig
from clew.text.tokenizer import Tokenizer

TRAIN, LSTM, FEEDING, DECODE = "train", "train-lstm", "train-lstm-feeding", "decode"
TOKENS, FIGURES = "tokens_per_cpu_second", ("greedy", "beam", "single")
LABELS = {
    TOKENS: "target tokens / CPU-s", "greedy": "greedy, 64 at once (sentences / CPU-s)",
    "beam": "beam 5, 64 at once (sentences / CPU-s)", "single": "greedy, one at a time (CPU-ms / sentence)",
}  # fmt: skip
JOBS: Jobs = {
    TRAIN: ("Training, Transformer 3+3 × 256", (TOKENS,)),
    LSTM: ("Training, LSTM with additive attention", (TOKENS,)),
    FEEDING: ("Training, the same with input feeding", (TOKENS,)),
    DECODE: ("Decoding 15 tokens a sentence, Transformer", FIGURES),
}
BOTH = ("fp32", "bf16")
PEERS = {
    "clew": Peer("clew", "clew_side", "", {TRAIN: BOTH, LSTM: BOTH, FEEDING: ("fp32",), DECODE: (*BOTH, "int8")}),
    "plain": Peer("plain nn.Transformer loop", "plain_torch", "", {TRAIN: BOTH, DECODE: BOTH}),
    "annotated": Peer("Annotated-Transformer style", "annotated", "", {TRAIN: ("fp32",), DECODE: ("fp32",)}),
    "tutorial": Peer("PyTorch-tutorial style GRU", "tutorial", "", {LSTM: ("fp32",)}),
    "huggingface": Peer("transformers Marian", "huggingface", "huggingface", {TRAIN: BOTH, DECODE: BOTH}),
    "fairseq": Peer("fairseq", "fairseq_nmt", "fairseq", {TRAIN: ("fp32",), DECODE: BOTH}),
    "opennmt": Peer("OpenNMT-py", "opennmt", "opennmt", dict.fromkeys((TRAIN, LSTM, FEEDING, DECODE), ("fp32",))),
    "eole": Peer("Eole", "eole_nmt", "eole", {TRAIN: BOTH, LSTM: ("fp32",), DECODE: BOTH}),
    "joey": Peer("JoeyNMT", "joey", "joeynmt", dict.fromkeys((TRAIN, LSTM, FEEDING, DECODE), ("fp32",))),
    "ctranslate2": Peer("CTranslate2", "ctranslate", "huggingface", {DECODE: ("fp32", "int8")}),
}

ANY = ("fp32", "bf16")
ASKED = [
    *(Asked(TRAIN, TOKENS, ANY, peer, "fp32", 2.0) for peer in ("fairseq", "eole", "opennmt", "plain")),
    Asked(TRAIN, TOKENS, ANY, "eole", "bf16", 1.3),
    Asked(TRAIN, TOKENS, ANY, "huggingface", "bf16", 1.8),
    Asked(TRAIN, TOKENS, ANY, "joey", "fp32", 5.0),
    Asked(LSTM, TOKENS, ANY, "opennmt", "fp32", 2.0),
    Asked(LSTM, TOKENS, ANY, "tutorial", "fp32", 4.0),
    Asked(DECODE, "greedy", ANY, "huggingface", "fp32", 2.0),
    Asked(DECODE, "greedy", ANY, "fairseq", "fp32", 1.4),
    Asked(DECODE, "greedy", ANY, "joey", "fp32", 5.0),
    Asked(DECODE, "beam", ANY, "fairseq", "fp32", 1.5),
    Asked(DECODE, "beam", ANY, "joey", "fp32", 7.0),
    Asked(DECODE, "single", ANY, "huggingface", "fp32", 1.4),
    *(Asked(DECODE, figure, ("int8",), "huggingface", "fp32", 3.0) for figure in FIGURES),
    *(Asked(DECODE, figure, ("int8",), "ctranslate2", "fp32", 1.0) for figure in ("greedy", "beam")),
    *(Asked(DECODE, figure, ("int8",), "ctranslate2", "int8", 1.0) for figure in FIGURES),
]


def encode_data(folder: Path, data: str | None) -> str:
    """Write train.jsonl, test.jsonl, meta.json: Multi30k German to English, in ids of 8,000 joint pieces."""
    source = Catalogue(CatalogueConfig(name="multi30k", folder=data, columns=("de", "en")))
    train, test = source.split("train"), source.split("test")
    tokenizer = Tokenizer.train([*train["de"], *train["en"]], TokenizerConfig(vocab_size=8000))
    for name, rows in (("train", train), ("test", test)):
        pairs = list(zip(tokenizer.encode(rows["de"]), tokenizer.encode(rows["en"]), strict=True))
        if name == "test":
            random.Random(1).shuffle(pairs)  # any first n of them are a fair sample
        lines = (json.dumps({"source": s, "target": t}) + "\n" for s, t in pairs if s and t)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "meta.json").write_text(json.dumps({"vocab_size": len(tokenizer)}))
    return f"Multi30k de→en, {len(train):,} pairs, {len(tokenizer):,} pieces"


def main() -> None:
    parser = arguments(__doc__, JOBS, PEERS, warmup=2, steps=6, out="translation-benchmark.json")
    parser.add_argument("--sentences", default="greedy=512,beam=128,single=50")
    parser.add_argument("--data", help="folder of Multi30k; default: where `clew data` finds it")
    args = parse(parser, JOBS, PEERS)
    with tempfile.TemporaryDirectory() as name:
        about = encode_data(Path(name), args.data)
        comparison = Comparison(
            args, f"{about}; decoded: {args.sentences}", Path(name), JOBS, PEERS, ASKED, LABELS, times=("single",),
            options=lambda one: ("--sentences", args.sentences), emulated=True,
        )  # fmt: skip
        print(comparison.run())


if __name__ == "__main__":
    main()

"""Encoders beside their peers, in one run: pre-training, fine-tuning and sentence vectors, by CPU time, as ratios.

    python benchmarks/encoders.py                          # every peer installed in the folder $CLEW_PEERS
    python benchmarks/encoders.py --jobs encode-small --only clew,huggingface --rounds 5

See `beside.py`. README.md says what is measured and how to install the peers.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from beside import Asked, Comparison, Jobs, Measured, Peer, arguments, parse

from clew.config import TokenizerConfig
from clew.data.batches import Texts
from clew.data.catalogue import Catalogue, CatalogueConfig, locate
from clew.data.lines import lines
from clew.data.rows import Rows
from clew.hub.adapter import adapter_of
from clew.inputs import Tokens
from clew.models.bert import BertConfig
from clew.models.heads import with_head
from clew.tensor_file import save_file
from clew.text.template import encode_pairs
from clew.text.tokenizer import Tokenizer

TOKENS, EXAMPLES, SENTENCES = "tokens_per_cpu_second", "examples_per_cpu_second", "sentences_per_cpu_second"
LABELS = {TOKENS: "real tokens / CPU-s", EXAMPLES: "examples / CPU-s", SENTENCES: "sentences / CPU-s"}
JOBS: Jobs = {
    "pretrain-captions": ("Masked-LM training, captions, 64 a batch", (TOKENS,)),
    "pretrain-wikipedia": ("Masked-LM training, Wikipedia lines, 32 a batch", (TOKENS,)),
    "finetune": ("Fine-tuning on pairs, 32 a batch", (EXAMPLES,)),
    "encode-small": ("Sentence vectors of captions, 4 × 256", (SENTENCES,)),
    "encode-base": ("Sentence vectors of captions, 12 × 768", (SENTENCES,)),
}
PRETRAIN, TUNE, ENCODE, BOTH = tuple(JOBS)[:2], ("finetune",), tuple(JOBS)[3:], ("fp32", "bf16")
CLEW, HF, ENGINES = "encoder_clew", "encoder_huggingface", "encoder_engines"


def jobs(names: tuple[str, ...], *precisions: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names, precisions)


PEERS = {
    "clew": Peer("clew", CLEW, "", jobs((*PRETRAIN, *TUNE), *BOTH) | jobs(ENCODE, *BOTH, "int8")),
    "clew-random": Peer("clew, on the Trainer's batches", CLEW, "", jobs(PRETRAIN, *BOTH), "random"),
    "trainer": Peer("HF Trainer", HF, "huggingface", jobs((*PRETRAIN, *TUNE), *BOTH)),
    "trainer-128": Peer("HF Trainer, padded to 128", HF, "huggingface", jobs(TUNE, "fp32"), "128"),
    "trainer-grouped": Peer("HF Trainer, grouped by length", HF, "huggingface", jobs(TUNE, *BOTH), "grouped"),
    "loop": Peer("HF model, bare loop", HF, "huggingface", jobs(PRETRAIN, *BOTH), "loop"),
    "huggingface": Peer("transformers", HF, "huggingface", jobs(ENCODE, *BOTH)),
    "huggingface-sorted": Peer("transformers, sorted by length", HF, "huggingface", jobs(ENCODE, *BOTH), "sorted"),
    **{
        name: Peer(title, ENGINES, "encoders", jobs(ENCODE, *precisions), name)
        for name, title, *precisions in [
            ("sentence-transformers", "sentence-transformers", "fp32"),
            ("onnx", "ONNX Runtime", "fp32", "int8"),
            ("ctranslate2", "CTranslate2", "fp32", "int8"),
        ]
    },
}
ANY = (*BOTH, "int8")
ASKED = [
    *(Asked(job, TOKENS, ANY, "trainer", *each) for job in PRETRAIN for each in (("fp32", 3.5), ("bf16", 2.2))),
    *(Asked("finetune", EXAMPLES, ANY, "trainer-grouped", *each) for each in (("fp32", 1.7), ("bf16", 1.3))),
    *(Asked(job, SENTENCES, ANY, peer, "fp32", ratio) for job in ENCODE
      for peer, ratio in (("huggingface", 2.3), ("sentence-transformers", 1.8))),
    *(Asked(job, SENTENCES, ANY, "ctranslate2", "int8", 1 / 1.5) for job in ENCODE),
]  # fmt: skip


def prepare(folder: Path, data: str | None, args: argparse.Namespace) -> tuple[str, float]:
    """Write each job's lines, the tokenizer and the models to encode with; what they are, mean tokens of a pair."""
    captions = rows_of("multi30k", ("en",), data)["en"]
    file = locate("wikipedia_en", data and f"{data}/wikipedia_en") / "wiki_00.txt.xz"
    wikipedia = [line.text for line in islice(lines(file, 1 << 20), 8000) if len(line.text.split()) > 10]
    first, second, labels = pairs_of(data)
    learned = [*captions[:5000], *wikipedia[:3000], *first, *second]
    tokenizer = Tokenizer.train(learned, TokenizerConfig(kind="wordpiece", vocab_size=8000, lowercase=True))
    tokenizer.save_pretrained(made(folder / "tokenizer"), 128)
    special = sorted(tokenizer.special_ids)
    meta = {"vocab_size": len(tokenizer), "mask_id": tokenizer.mask_id, "special": special}
    meta["plain"] = [i for i in range(len(tokenizer)) if i not in tokenizer.special_ids]
    (folder / "meta.json").write_text(json.dumps(meta))
    sampled = random.Random(1).sample(captions, args.sentences)
    texts: dict[str, tuple] = {
        "pretrain-captions": (captions,), "pretrain-wikipedia": (wikipedia,), "finetune": (first, second, labels),
        "encode-small": (sampled,), "encode-base": (sampled[: args.sentences // 8],),
    }  # fmt: skip
    means = {job: write_lines(folder / f"{job}.jsonl", tokenizer, *texts[job]) for job in args.jobs}
    for job, size in zip(ENCODE, ("mini", "base"), strict=True):
        if job in args.jobs:
            write_model(folder / job, BertConfig(size=size), tokenizer, folder / f"{job}.jsonl")
    about = ", ".join(f"{job} {mean:.1f}" for job, mean in means.items())
    return f"{len(tokenizer):,} pieces; mean tokens of a line: {about}", means.get("finetune", 0.0)


def rows_of(name: str, columns: tuple[str, ...], data: str | None) -> Rows:
    """The training rows of a known set."""
    return Catalogue(CatalogueConfig(name=name, folder=data and f"{data}/{name}", columns=columns)).split("train")


def pairs_of(data: str | None) -> tuple[list[str], list[str], list[int]]:
    """MRPC's pairs and as many of SNLI's, with the numbers of their classes."""
    first, second, labels = [], [], []
    for name, a, b in (("mrpc", "sentence1", "sentence2"), ("snli_subset", "premise", "hypothesis")):
        rows = rows_of(name, (a, b, "label"), data)
        classes, limit = sorted(set(rows["label"])), len(first) or None
        first, second = [*first, *rows[a][:limit]], [*second, *rows[b][:limit]]
        labels += [classes.index(label) for label in rows["label"][:limit]]
    return first, second, labels


def write_lines(
    path: Path, tokenizer: Tokenizer, texts: list[str], second: list[str] | None = None, labels: list[int] | None = None
) -> float:
    """Write the lines of a job, shuffled; gives their mean number of tokens."""
    encoded = encode_pairs(tokenizer, texts, second, 128)
    columns = (encoded.ids, encoded.first, labels or [0] * len(texts), texts)
    rows = [dict(zip(("input_ids", "first", "label", "text"), row, strict=True)) for row in zip(*columns, strict=True)]
    random.Random(1).shuffle(rows)  # any first n of them are a fair sample
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return sum(map(len, encoded.ids)) / len(rows)


def write_model(folder: Path, config: BertConfig, tokenizer: Tokenizer, path: Path) -> None:
    """A model with random weights as transformers keeps it, and the vectors that it gives, a line at a time."""
    torch.manual_seed(1)
    model = with_head("masked_lm", config, Tokens(len(tokenizer)), 0).eval()
    made(folder).joinpath("config.json").write_text(json.dumps(adapter_of(model).config_to_hf(model, tokenizer)))
    save_file(adapter_of(model).to_hf(model), folder / "model.safetensors", {"format": "pt"})
    tokenizer.save_pretrained(folder, config.max_length)
    ids = [json.loads(line)["input_ids"] for line in path.read_text().splitlines()]
    with torch.inference_mode():
        vectors = [model.encoder(Texts([line], [0]).batch([0], pad_id=0)).hidden.mean(dim=0) for line in ids]
    np.save(folder / "vectors.npy", torch.stack(vectors).numpy())


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def nearness(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """How far vectors are from those of the model read a line at a time: the largest difference, the least cosine."""
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = (found * expected).sum(axis=1) / norms
    return {"off": float(np.abs(found - expected).max()), "cosine": float(cosine.min())}


def columns(job: str, mine: list[Measured]) -> list:
    """How equal vectors are."""
    if job not in ENCODE:
        return []
    return [
        ("largest difference", lambda one: f"{one.rounds[0]['off']:.1e}"),
        ("least cosine", lambda one: f"{one.rounds[0]['cosine']:.5f}"),
    ]


def main() -> None:
    parser = arguments(__doc__, JOBS, PEERS, warmup=2, steps=12, out="encoders-benchmark.json")
    parser.add_argument("--force-bf16", action="store_true", help="measure bf16 where it is emulated, too")
    parser.add_argument("--sentences", type=int, default=1024, help="captions to encode; an eighth of them at 12 × 768")
    parser.add_argument(
        "--data", help="folder of multi30k, wikipedia_en, mrpc, snli_subset; default: where `clew data` finds them"
    )
    args = parse(parser, JOBS, PEERS)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        about, mean_pair = prepare(folder, args.data, args)

        def check(one: Measured, result: dict, work: Path) -> str:
            if one.job in ENCODE:
                result |= nearness(np.load(work / "vectors.npy"), np.load(folder / one.job / "vectors.npy"))
            if one.job in TUNE:  # batches differ in how long their pairs are: counted in tokens, told in pairs
                result[EXAMPLES] = result[TOKENS] / mean_pair
            if one.precision == "fp32" and result.get("off", 0) > 1e-4:
                return f"its vectors are not those of the others: {result['off']:.1e} apart"
            return ""

        comparison = Comparison(
            args, about, folder, JOBS, PEERS, ASKED, LABELS, check=check, columns=columns, emulated=args.force_bf16
        )
        print(comparison.run())


if __name__ == "__main__":
    main()

"""Decoders beside their peers, in one run: training and writing, by CPU time, as ratios.

    python benchmarks/decoders.py                          # every peer installed in the folder $CLEW_PEERS
    python benchmarks/decoders.py --jobs write-small --only clew,huggingface --rounds 5

See `beside.py`. README.md says what is measured and how to install the peers.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from beside import Asked, Comparison, Jobs, Measured, Peer, arguments, parse

sys.path.append(str(Path(__file__).resolve().parent / "peers"))
from decoder_common import SHAPES

from clew.hub.adapter import adapter_of
from clew.inputs import Tokens
from clew.models.gpt2 import GPT2, GPT2Config
from clew.tensor_file import save_file

TOKENS = "tokens_per_cpu_second"
JOBS: Jobs = {
    "train-characters": ("Training, 4 × 128, 12 rows of 64 characters", (TOKENS,)),
    "train-words": ("Training, 4 × 256, 8,000 words, 8 rows of 256", (TOKENS,)),
    "write-small": ("Writing 64 tokens, GPT-2 small (12 × 768), one text", (TOKENS,)),
    "write-batch": ("Writing 128 tokens, 4 × 256, 16 texts at once", (TOKENS,)),
}
TRAIN, WRITE, BOTH = tuple(JOBS)[:2], tuple(JOBS)[2:], ("fp32", "bf16")
TRAINED, WRITTEN = dict.fromkeys(TRAIN, BOTH), dict.fromkeys(WRITE, BOTH)
PEERS = {
    "clew": Peer("clew", "decoder_clew", "", TRAINED | dict.fromkeys(WRITE, (*BOTH, "int8"))),
    "trainer": Peer("HF Trainer", "decoder_huggingface", "huggingface", TRAINED),
    "loop": Peer("nanoGPT-style loop", "decoder_loop", "", TRAINED),
    "huggingface": Peer("HF generate", "decoder_huggingface", "huggingface", WRITTEN),
    "ctranslate2": Peer("CTranslate2", "decoder_ctranslate2", "huggingface", dict.fromkeys(WRITE, ("fp32", "int8"))),
}
ASKED = [
    *(Asked(job, TOKENS, (kind,), peer, kind, ratio) for job in TRAIN for kind in BOTH
      for peer, ratio in (("trainer", 2.0), ("loop", 1.2))),
    Asked("write-small", TOKENS, ("bf16",), "huggingface", "fp32", 1.3),
    Asked("write-small", TOKENS, ("int8",), "huggingface", "fp32", 2.2),
    *(Asked("write-batch", TOKENS, (kind,), "huggingface", "fp32", 3.0) for kind in (*BOTH, "int8")),
]  # fmt: skip


def prepare(folder: Path, jobs: list[str]) -> None:
    """A model with random weights for each job, as transformers keeps it, and random tokens to learn."""
    for job in jobs:
        vocab_size, n_layers, n_heads, d_model, positions, *_ = SHAPES[job]
        config = GPT2Config(n_layers=n_layers, n_heads=n_heads, d_model=d_model, max_length=positions, dropout=0.0)
        torch.manual_seed(1)
        model = GPT2(config, Tokens(vocab_size))
        (folder / job).mkdir()
        (folder / job / "config.json").write_text(
            json.dumps(adapter_of(model).config_to_hf(model, SimpleNamespace(eos_id=0, opening=[])))
        )
        save_file(adapter_of(model).to_hf(model), folder / job / "model.safetensors", {"format": "pt"})
        np.save(folder / f"{job}.npy", np.random.default_rng(1).integers(0, vocab_size, 200_000).astype(np.uint16))


def read_written(one: Measured, result: dict, work: Path) -> str:
    """Keep the first text with the result."""
    if one.job in WRITE:
        result["written"] = np.load(work / "written.npy")[0].tolist()
    return ""


def columns(job: str, mine: list[Measured]) -> list:
    """How many tokens each wrote as clew did in fp32."""
    exact = [one for one in mine if one.title == "clew fp32" and one.rounds]
    if job not in WRITE or not exact:
        return []
    ours = exact[0].rounds[0]["written"]

    def alike(one: Measured) -> str:
        pairs = zip(one.rounds[0]["written"], ours, strict=True)
        return str(next((n for n, (a, b) in enumerate(pairs) if a != b), len(ours)))

    return [("tokens as clew fp32 before the first other", alike)]


def main() -> None:
    parser = arguments(__doc__, JOBS, PEERS, warmup=5, steps=20, out="decoders-benchmark.json")
    parser.add_argument("--texts", type=int, default=3, help="times that a batch is written")
    args = parse(parser, JOBS, PEERS)
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), args.jobs)
        comparison = Comparison(
            args, f"random weights and tokens; batches written: {args.texts}", Path(name), JOBS, PEERS, ASKED,
            {TOKENS: "tokens / CPU-s"}, check=read_written, columns=columns,
            options=lambda one: ("--steps", args.texts) if one.job in WRITE else (),
        )  # fmt: skip
        print(comparison.run())


if __name__ == "__main__":
    main()

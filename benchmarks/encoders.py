"""Encoders beside their peers, in one run: pre-training, fine-tuning and sentence vectors, by CPU time, as ratios.

    python benchmarks/encoders.py                          # every peer installed in the folder $CLEW_PEERS
    python benchmarks/encoders.py --jobs encode-small --only clew,huggingface --rounds 5

Each measurement is a process of its own, with the peer's own Python; every round runs each job's peers in a new
random order, so that what else the machine does falls on all alike. README.md says how to install the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
from translation import find_python, hardware, list_versions, number

from clew.config import TokenizerConfig
from clew.data.batches import Texts
from clew.data.catalogue import Catalogue, CatalogueConfig, locate
from clew.data.lines import lines
from clew.data.rows import Rows
from clew.hub.bert import config_to_hf, state_to_hf
from clew.models.bert import BertConfig
from clew.models.heads import with_head
from clew.tensor_file import save_file
from clew.text.framing import frame
from clew.text.tokenizer import Tokenizer

HERE = Path(__file__).resolve().parent
TOKENS, EXAMPLES, SENTENCES = "tokens_per_cpu_second", "examples_per_cpu_second", "sentences_per_cpu_second"
JOBS = {
    "pretrain-captions": ("Masked-LM training, captions, 64 a batch: real tokens per CPU-second", TOKENS),
    "pretrain-wikipedia": ("Masked-LM training, Wikipedia lines, 32 a batch: real tokens per CPU-second", TOKENS),
    "finetune": ("Fine-tuning on pairs, 32 a batch: examples per CPU-second", EXAMPLES),
    "encode-small": ("Sentence vectors of captions, 4 × 256: sentences per CPU-second", SENTENCES),
    "encode-base": ("Sentence vectors of captions, 12 × 768: sentences per CPU-second", SENTENCES),
}
PRETRAIN, ENCODE = tuple(JOBS)[:2], tuple(JOBS)[3:]


@dataclass(frozen=True)
class Peer:
    """What is measured: its adapter in peers/, its environment's folder, jobs, precisions, which of its ways."""

    title: str
    adapter: str
    environment: str
    jobs: tuple[str, ...]
    precisions: tuple[str, ...] = ("fp32", "bf16")
    style: str = ""


CLEW, HF, ENGINES = "encoder_clew", "encoder_huggingface", "encoder_engines"
PEERS = {
    "clew": Peer("clew", CLEW, "", tuple(JOBS), ("fp32", "bf16", "int8")),
    "clew-random": Peer("clew, on the Trainer's batches", CLEW, "", PRETRAIN, style="random"),
    "trainer": Peer("HF Trainer", HF, "huggingface", (*PRETRAIN, "finetune")),
    "trainer-128": Peer("HF Trainer, padded to 128", HF, "huggingface", ("finetune",), ("fp32",), "128"),
    "trainer-grouped": Peer("HF Trainer, grouped by length", HF, "huggingface", ("finetune",), style="grouped"),
    "loop": Peer("HF model, bare loop", HF, "huggingface", PRETRAIN, style="loop"),
    "huggingface": Peer("transformers", HF, "huggingface", ENCODE),
    "huggingface-sorted": Peer("transformers, sorted by length", HF, "huggingface", ENCODE, style="sorted"),
    **{
        name: Peer(title, ENGINES, "encoders", ENCODE, precisions, name)
        for name, title, precisions in [
            ("sentence-transformers", "sentence-transformers", ("fp32",)),
            ("onnx", "ONNX Runtime", ("fp32", "int8")),
            ("ctranslate2", "CTranslate2", ("fp32", "int8")),
        ]
    },
}

# What clew is to reach, in the fastest precision that was measured: job, peer, its precision, ratio.
ASKED = [
    *((job, "trainer", *each) for job in PRETRAIN for each in (("fp32", 3.5), ("bf16", 2.2))),
    ("finetune", "trainer-grouped", "fp32", 1.7), ("finetune", "trainer-grouped", "bf16", 1.3),
    *((job, peer, "fp32", ratio) for job in ENCODE for peer, ratio in (
        ("huggingface", 2.3), ("sentence-transformers", 1.8))),
    *((job, "ctranslate2", "int8", 1 / 1.5) for job in ENCODE),
]  # fmt: skip


@dataclass
class Measured:
    """All rounds of one (job, peer, precision)."""

    job: str
    peer: str
    precision: str
    rounds: list[dict] = field(default_factory=list)
    failed: str = ""  # why there is no figure

    @property
    def title(self) -> str:
        return f"{PEERS[self.peer].title} {self.precision}"

    @property
    def values(self) -> list[float]:
        return [found[JOBS[self.job][1]] for found in self.rounds]


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
    framed = frame(tokenizer, texts, second, 128)
    columns = (framed.ids, framed.first, labels or [0] * len(texts), texts)
    rows = [dict(zip(("input_ids", "first", "label", "text"), row, strict=True)) for row in zip(*columns, strict=True)]
    random.Random(1).shuffle(rows)  # any first n of them are a fair sample
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return sum(map(len, framed.ids)) / len(rows)


def write_model(folder: Path, config: BertConfig, tokenizer: Tokenizer, path: Path) -> None:
    """A model with random weights as transformers keeps it, and the vectors that it gives, a line at a time."""
    torch.manual_seed(1)
    model = with_head("pretrain", config, len(tokenizer), 0, 0).eval()
    made(folder).joinpath("config.json").write_text(json.dumps(config_to_hf(model, 0)))
    save_file(state_to_hf(model, str(folder)), folder / "model.safetensors", {"format": "pt"})
    tokenizer.save_pretrained(folder, config.max_length)
    ids = [json.loads(line)["input_ids"] for line in path.read_text().splitlines()]
    with torch.inference_mode():
        vectors = [model.encoder(Texts([line], [0]).batch([0], pad_id=0)).hidden.mean(dim=0) for line in ids]
    np.save(folder / "vectors.npy", torch.stack(vectors).numpy())


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def bf16_here() -> bool:
    """Whether the processor multiplies in bf16; without that, bf16 is emulated and slower than fp32."""
    return "no bf16" not in hardware()


def measure(python: str, one: Measured, data: Path, mean_pair: float, args: argparse.Namespace) -> str:
    """Run one adapter once and add its figures to `one.rounds`; returns what went wrong, or ""."""
    peer = PEERS[one.peer]
    if one.precision == "bf16" and not (bf16_here() or args.force_bf16):
        return "not measured: this processor has no bf16 instructions (--force-bf16 measures anyway)"
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(args.threads)), "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as work:
        command = [
            python, "-W", "ignore", str(HERE / "peers" / f"{peer.adapter}.py"), "--job", one.job, "--data", str(data),
            "--work", work, "--precision", one.precision, f"--style={peer.style}", "--threads", str(args.threads),
            "--warmup", str(args.warmup), "--steps", str(args.steps),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=work, env=environment, capture_output=True, text=True, timeout=args.timeout
            )
        except subprocess.TimeoutExpired:
            return f"took longer than {args.timeout} s"
        results = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not results:
            return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
        result = json.loads(results[-1])
        if one.job in ENCODE:
            result |= nearness(np.load(f"{work}/vectors.npy"), np.load(data / one.job / "vectors.npy"))
    if one.job == "finetune":  # batches differ in how long their pairs are: counted in tokens, told in pairs
        result[EXAMPLES] = result[TOKENS] / mean_pair
    if one.precision == "fp32" and result.get("off", 0) > 1e-4:
        return f"its vectors are not those of the others: {result['off']:.1e} apart"
    one.rounds.append(result)
    return ""


def nearness(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """How far vectors are from those of the model read a line at a time: the largest difference, the least cosine."""
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    cosine = (found * expected).sum(axis=1) / norms
    return {"off": float(np.abs(found - expected).max()), "cosine": float(cosine.min())}


def table(job: str, measured: list[Measured]) -> str:
    """Markdown: medians, their range over the rounds, how many times faster clew is, and how equal vectors are."""
    title, figure = JOBS[job]
    mine = [one for one in measured if one.job == job]
    ours = [one for one in mine if one.peer.startswith("clew") and one.rounds]
    head = ["", figure.split("_")[0] + " / CPU-s", "range", *(f"{one.title} is" for one in ours)]
    head += ["largest difference", "least cosine"] if job in ENCODE else []
    lines, rows = [f"### {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"], []
    for one in mine:
        if not one.rounds:
            rows.append((0.0, f"| {one.title} | {one.failed or 'none'} |" + " |" * (len(head) - 2)))
            continue
        middle = median(one.values)
        cells = [one.title, number(middle), f"{number(min(one.values))}–{number(max(one.values))}"]
        cells += [f"{median(other.values) / middle:.2f}×" for other in ours]
        if job in ENCODE:
            cells += [f"{one.rounds[0]['off']:.1e}", f"{one.rounds[0]['cosine']:.5f}"]
        rows.append((middle, "| " + " | ".join(cells) + " |"))
    return "\n".join([*lines, *(row for _, row in sorted(rows, reverse=True)), ""])


def asked(measured: list[Measured]) -> tuple[str, list[dict]]:
    """What was asked for beside what was seen, as Markdown and as data; only pairs that were measured."""
    found = {(one.job, one.peer, one.precision): median(one.values) for one in measured if one.rounds}
    lines = ["### Asked and seen", "", "| job | clew | against | asked | seen |", "|---|---|---|---|---|"]
    data = []
    for job, peer, precision, ratio in ASKED:
        ours = {kind: speed for (what, name, kind), speed in found.items() if what == job and name == "clew"}
        if not ours or (job, peer, precision) not in found:
            continue
        for kind, speed in ours.items():
            seen, against = speed / found[job, peer, precision], f"{PEERS[peer].title} {precision}"
            mark = "" if seen >= ratio else " (short)"
            lines.append(f"| {job} | {kind} | {against} | {ratio:.2g}× | {seen:.2f}×{mark} |")
            data.append({"job": job, "clew": kind, "against": against, "asked": ratio, "seen": seen})
    return "\n".join(lines) + "\n", data


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = {"type": lambda text: text.split(",")}
    parser.add_argument("--jobs", default=list(JOBS), help="of: " + ", ".join(JOBS), **listed)
    parser.add_argument("--only", default=list(PEERS), help="peers, of: " + ", ".join(PEERS), **listed)
    parser.add_argument("--precisions", default=["fp32", "bf16", "int8"], help="fp32,bf16,int8", **listed)
    parser.add_argument("--force-bf16", action="store_true", help="measure bf16 where it is emulated, too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=2, help="optimizer steps before the clock starts")
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps measured")
    parser.add_argument("--sentences", type=int, default=1024, help="captions to encode; an eighth of them at 12 × 768")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one measurement")
    parser.add_argument(
        "--data", help="folder of multi30k, wikipedia_en, mrpc, snli_subset; default: where `clew data` finds them"
    )
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH", help="interpreter for a peer")
    parser.add_argument("--out", type=Path, default=Path("encoders-benchmark.json"))
    args = parser.parse_args()
    for given, known in ((args.jobs, JOBS), (args.only, PEERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{', '.join(unknown)}: none of {', '.join(known)}")
    return args


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    given = dict(pair.split("=", 1) for pair in args.python)
    pythons = {name: find_python(name, PEERS[name], given) for name in args.only}
    absent = [PEERS[name].title for name, python in pythons.items() if python is None]
    measured = [
        Measured(job, name, precision)
        for job in args.jobs
        for name, python in pythons.items()
        if python and job in PEERS[name].jobs
        for precision in PEERS[name].precisions
        if precision in args.precisions and (precision != "int8" or job in ENCODE)
    ]
    with tempfile.TemporaryDirectory() as name:
        about, mean_pair = prepare(Path(name), args.data, args)
        for count in range(args.rounds):
            order = [one for one in measured if not one.failed]
            random.Random(count).shuffle(order)
            for one in sorted(order, key=lambda one: args.jobs.index(one.job)):  # what is compared runs close together
                start = time.perf_counter()
                one.failed = measure(str(pythons[one.peer]), one, Path(name), mean_pair, args)
                said = one.failed or number(one.values[-1])
                seconds = time.perf_counter() - start
                print(
                    f"round {count + 1}: {one.job}, {one.title} ({seconds:.0f} s) {said}", file=sys.stderr, flush=True
                )
                write(args, about, absent, measured)
    print(write(args, about, absent, measured))


def write(args: argparse.Namespace, about: str, absent: list[str], measured: list[Measured]) -> str:
    """Write the JSON and give the Markdown; called after every measurement, so that a run cut short leaves figures."""
    targets, seen = asked(measured)
    versions = {PEERS[one.peer].title: one.rounds[0]["versions"] for one in measured if one.rounds}
    parts = [
        f"{about}; {args.threads} thread(s), {args.rounds} rounds, {args.warmup} + {args.steps} steps; {hardware()}.",
        "Versions: " + "; ".join(f"{name}: {list_versions(found)}" for name, found in versions.items()) + ".",
        "Not installed: " + (", ".join(absent) or "none") + ".",
        *(table(job, measured) for job in args.jobs), targets,
    ]  # fmt: skip
    data = {
        "about": about, "hardware": hardware(), "threads": args.threads, "steps": args.steps,
        "sentences": args.sentences, "versions": versions, "not_installed": absent,
        "measured": [asdict(one) for one in measured], "asked": seen,
    }  # fmt: skip
    args.out.write_text(json.dumps(data, indent=1))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()

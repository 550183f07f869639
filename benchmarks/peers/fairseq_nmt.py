"""fairseq: its training command and its sequence generator, on data made by its own preprocessing."""

from __future__ import annotations

import dataclasses
import sys
from argparse import Namespace

import common
import torch
from common import Ids, Job, Meter, chunks, measure_decoding, read_job, unsupported

# fairseq 0.12 and the hydra it needs have dataclasses as default values; Python 3.11 refuses those not hashable.
plain_dataclass = dataclasses.dataclass
dataclasses.dataclass = lambda cls=None, /, **options: plain_dataclass(cls, **{"unsafe_hash": True, **options})
from fairseq import options, tasks, utils  # noqa: E402
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion  # noqa: E402
from fairseq.dataclass.utils import convert_namespace_to_omegaconf  # noqa: E402
from fairseq_cli import preprocess  # noqa: E402
from fairseq_cli import train as fairseq_train  # noqa: E402

dataclasses.dataclass = plain_dataclass


def prepare(job: Job) -> list[str]:
    """Binarise the data, and give the arguments of `fairseq-train`."""
    for split in ("train", "test"):
        source, target = job.write_text(split)
        source.rename(job.work / f"{split}.src")
        target.rename(job.work / f"{split}.trg")
    dictionary = job.work / "dict.txt"
    dictionary.write_text("".join(f"{word} 1\n" for word in job.words))
    sys.argv = [
        "fairseq-preprocess", "--source-lang", "src", "--target-lang", "trg", "--trainpref", str(job.work / "train"),
        "--validpref", str(job.work / "test"), "--destdir", str(job.work / "bin"), "--srcdict", str(dictionary),
        "--joined-dictionary", "--workers", "1",
    ]  # fmt: skip
    preprocess.cli_main()
    sides = [
        f"--{side}-{name}={value}" for side in ("encoder", "decoder") for name, value in
        {"layers": common.N_LAYERS, "embed-dim": common.D_MODEL, "ffn-embed-dim": common.D_FF,
        "attention-heads": common.N_HEADS}.items()
    ]  # fmt: skip
    return [
        str(job.work / "bin"), "--arch", "transformer", *sides, "--encoder-normalize-before",
        "--decoder-normalize-before",
        "--share-all-embeddings", "--dropout", str(common.DROPOUT), "--attention-dropout",
        str(common.ATTENTION_DROPOUT),
        "--criterion", "label_smoothed_cross_entropy", "--label-smoothing", str(common.SMOOTHING), "--optimizer",
        "adam",
        "--adam-betas", "(0.9, 0.98)", "--lr", str(common.LEARNING_RATE), "--clip-norm", str(common.CLIP_NORM),
        "--max-tokens", str(common.BATCH_TOKENS), "--max-update", str(job.warmup + job.steps + 1), "--num-workers",
        "0", "--cpu",
        "--no-save", "--disable-validation", "--no-progress-bar", "--seed", "1",
    ]  # fmt: skip


def train(job: Job) -> None:
    meter = Meter(job, "fairseq")
    compute = LabelSmoothedCrossEntropyCriterion.forward

    def counted(self, model, sample, reduce=True):
        meter.count(sample["ntokens"], sample["target"].numel())
        return compute(self, model, sample, reduce)

    LabelSmoothedCrossEntropyCriterion.forward = counted
    sys.argv = ["fairseq-train", *prepare(job)]
    fairseq_train.cli_main()


def decode(job: Job) -> None:
    precision, job.precision = job.precision, "fp32"
    arguments = prepare(job)
    parsed = options.parse_args_and_arch(options.get_training_parser(), arguments)
    config = convert_namespace_to_omegaconf(parsed)
    task = tasks.setup_task(config.task)
    model = task.build_model(config.model).eval()
    model.prepare_for_inference_(config)
    if precision == "bf16":
        model.bfloat16()

    @torch.inference_mode()
    def translate(sentences: Ids, beam: int, batch_size: int) -> Ids:
        # max_len_b does not count </s>, which is forced in one more step
        lengths = {"min_len": common.FORCED_LENGTH - 1, "max_len_a": 0, "max_len_b": common.FORCED_LENGTH - 1}
        generator = task.build_generator([model], Namespace(beam=beam, **lengths))
        outputs: Ids = []
        for batch in chunks(sentences, batch_size):
            tokens = [
                task.source_dictionary.encode_line(" ".join(map(str, ids)), add_if_not_exist=False).long()
                for ids in batch
            ]
            data = task.build_dataset_for_inference(tokens, [len(t) for t in tokens])
            sample = data.collater([data[i] for i in range(len(data))])
            found = task.inference_step(generator, [model], utils.move_to_cpu(sample))
            outputs += [hypotheses[0]["tokens"].tolist() for hypotheses in found]
        return outputs

    measure_decoding(job, translate, "fairseq")


if __name__ == "__main__":
    job = read_job()
    if job.job.startswith("train-lstm") or job.precision == "int8":
        unsupported("a Transformer in fp32 or bf16; its LSTM has no additive attention")
    if job.job == "train" and job.precision == "bf16":
        unsupported("its --bf16 training fails on a CPU: it looks for a TPU")
    {"train": train, "decode": decode}[job.job](job)

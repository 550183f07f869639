"""What runs a finished BERT: sentence-transformers, ONNX Runtime, CTranslate2; each from the same folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from encoder_common import Ids, Job, in_batches, mean_pool, measure_encoding, pad, read_job


def sentence_transformers(job: Job) -> None:
    """Reads text, as it always does: making tokens of it is in the time."""
    from sentence_transformers import SentenceTransformer, models

    model = SentenceTransformer(
        modules=[models.Transformer(str(job.folder)), models.Pooling(job_width(job), "mean")], device="cpu"
    )

    def encode(texts: list[str]) -> np.ndarray:
        return model.encode(texts, batch_size=job.batch, show_progress_bar=False)

    measure_encoding(job, encode, "sentence-transformers", "transformers", field="text")


def job_width(job: Job) -> int:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(job.folder).hidden_size


def onnx_file(job: Job) -> Path:
    """The exported model, int8 where that is asked for; made in the first round."""
    from transformers import AutoModel

    path = job.folder / "model.onnx"
    if not path.exists():
        model = AutoModel.from_pretrained(job.folder, add_pooling_layer=False).eval()
        ids, mask = pad([[1, 2, 3], [4, 5]])
        axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}
        torch.onnx.export(
            model, (ids,), path, kwargs={"attention_mask": mask}, dynamo=True, external_data=False, optimize=True,
            input_names=["input_ids", "attention_mask"], output_names=["hidden"],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
        )  # fmt: skip
    if job.precision != "int8":
        return path
    small = job.folder / "model-int8.onnx"
    if not small.exists():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(path, small, weight_type=QuantType.QInt8, per_channel=True)
    return small


def onnx(job: Job) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(onnx_file(job), options, providers=["CPUExecutionProvider"])

    def vectors(lines: Ids) -> np.ndarray:
        ids, mask = pad(lines)
        (hidden,) = session.run(["hidden"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        return mean_pool(torch.from_numpy(hidden), mask).numpy()

    measure_encoding(job, in_batches(vectors, job.batch), "onnxruntime")


def ctranslate2(job: Job) -> None:
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    folder = job.folder / "ctranslate2"
    if not folder.exists():
        TransformersConverter(str(job.folder)).convert(str(folder))
    kind = {"fp32": "float32", "int8": "int8"}[job.precision]
    model = ctranslate2.Encoder(str(folder), device="cpu", compute_type=kind, intra_threads=job.threads)

    def vectors(lines: Ids) -> np.ndarray:
        hidden = np.array(model.forward_batch(lines).last_hidden_state)
        return mean_pool(torch.from_numpy(hidden), pad(lines)[1]).numpy()

    measure_encoding(job, in_batches(vectors, job.batch), "ctranslate2")


if __name__ == "__main__":
    job = read_job()
    {"sentence-transformers": sentence_transformers, "onnx": onnx, "ctranslate2": ctranslate2}[job.style](job)

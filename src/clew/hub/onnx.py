"""An encoder under its head as an ONNX graph, with dynamic batch and time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clew.batches import TextBatch
from clew.errors import MissingExtra, RecipeError
from clew.models.bert import Bert, EncoderOutput, first_places
from clew.nn.packing import Padded

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class PaddedEncoder(nn.Module):
    """An encoder that works on every place of a batch, padding too: its graph is the same for all batches."""

    def __init__(self, encoder: Bert) -> None:
        super().__init__()
        self.inner, self.config, self.embeddings = encoder, encoder.config, encoder.embeddings

    def forward(self, batch: TextBatch, at: Tensor | None = None) -> EncoderOutput:
        return self.inner.read(batch, Padded(batch.mask), at)

    def pooled(self, batch: TextBatch) -> Tensor:
        return self(batch, first_places(batch)).hidden

    def token_table(self) -> Tensor:
        return self.inner.token_table()


class Graph(nn.Module):
    """A model as transformers calls it: three (batch, time) int64 tensors in, its logits out.

    Of multiple choice they are (batch, choices, time). Logits of tokens are (batch, time, …).
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def outputs(self) -> list[str]:
        if "masked_lm" in self.model.heads and self.model.next_sentence:
            return ["prediction_logits", "seq_relationship_logits"]
        return ["start_logits", "end_logits"] if "answer" in self.model.heads else ["logits"]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        model, shape = self.model, input_ids.shape
        text, mask, segment = (t.view(-1, shape[-1]) for t in (input_ids, attention_mask, token_type_ids))
        everywhere = torch.arange(text.numel(), device=text.device)
        out = model(TextBatch(text, mask.bool(), segment, everywhere, everywhere, at=everywhere))
        if "masked_lm" in model.heads:
            weight, bias = model.output_table()
            logits = (out.hidden @ weight.t() + bias).unflatten(0, shape)
            return (logits, out.next.flip(-1)) if out.next is not None else (logits,)
        if "answer" in model.heads:
            return out.start, out.end
        return (out.logits.unflatten(0, shape) if "tag" in model.heads else out.logits,)


def export(model: Any, preprocessor: Any, config: Mapping[str, Any], folder: Path) -> float:
    """Write `model.onnx`, its tokenizer and `config.json`; returns how far onnxruntime's logits are from the model's.

    Raises MissingExtra where the extra `onnx` is not installed, RecipeError for a model that is no encoder.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise MissingExtra("exporting to ONNX needs its packages", fix="pip install 'clew[onnx]'") from error
    if "onnx" not in model.backbone.exports:
        raise RecipeError(
            f"no graph is made of {type(model).__name__}", where="model", fix='export a model of kind "bert"'
        )
    tokenizer = preprocessor.source
    encoder, example = model.encoder, inputs(model, len(tokenizer))
    folder.mkdir(parents=True, exist_ok=True)
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time", max=encoder.config.max_length)
    axes = {0: batch, example[0].dim() - 1: time}
    model.encoder = PaddedEncoder(encoder)
    graph = Graph(model).eval()
    try:
        torch.onnx.export(
            graph, example, folder / "model.onnx", input_names=INPUTS, output_names=graph.outputs, dynamo=True,
            dynamic_shapes=tuple(axes for _ in INPUTS), external_data=False, verbose=False,
        )  # fmt: skip
        with torch.no_grad():
            ours = graph(*example)
    finally:
        model.encoder = encoder
    tokenizer.save_pretrained(folder, encoder.config.max_length)
    (folder / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    theirs = session.run(None, {name: tensor.numpy() for name, tensor in zip(INPUTS, example, strict=True)})
    pairs = [(a[a.isfinite()], torch.from_numpy(b)[a.isfinite()]) for a, b in zip(ours, theirs, strict=True)]
    return max(float((a - b).abs().max()) for a, b in pairs)


def inputs(model: Any, vocabulary: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two examples, one padded, to trace the graph with and to compare it on."""
    rows, time = (
        2 * (model.choices if "choose" in model.heads else 1),
        min(7, model.encoder.config.max_length),
    )
    text = torch.arange(rows * time).view(rows, time) % vocabulary
    mask = torch.ones_like(text)
    mask[-1, time // 2 + 1 :] = 0
    segment = torch.zeros_like(text)
    segment[:, 2:] = model.encoder.config.n_segments - 1
    shape = (2, model.choices, time) if "choose" in model.heads else (rows, time)
    return text.view(shape), mask.view(shape), segment.view(shape)

"""RoBERTa (Liu et al. 2019): BERT without segments and next sentences, with byte-level tokens, trained for longer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import Field
from torch import Tensor

from clew.contracts import Head, Model
from clew.errors import RecipeError
from clew.inputs import Tokens
from clew.models.bert import LAYOUT, Bert, BertConfig, BertEmbeddings

NAMES = {"pooler.dense": "roberta.pooler.dense"}
MASKED_LM = {"masked_lm": "lm_head", "masked_lm.dense": "lm_head.dense", "masked_lm.norm": "lm_head.layer_norm"}


class RobertaConfig(BertConfig):
    """The settings of BERT, with one segment."""

    kind: str = "roberta"
    n_segments: int = Field(1, ge=1)
    norm_eps: float = Field(1e-5, gt=0)


class RobertaEmbeddings(BertEmbeddings):
    """BERT's embeddings with one segment; positions are counted from behind the number of the padding token."""

    def __init__(self, config: RobertaConfig, spec: Tokens) -> None:
        super().__init__(config, spec)
        self.begin = self.first(spec)

    def first(self, spec: Tokens) -> int:
        return spec.pad_id + 1

    def forward(self, token: Tensor, position: Tensor, segment: Tensor) -> Tensor:
        return super().forward(token, position + self.begin, segment * 0)


class Roberta(Bert):
    """BERT as it can be trained better (§3, §4): no next sentences, one segment, a byte-level vocabulary.

    Dynamic masks are `task.masks`, full sentences `task.next_sentence = false`, large batches `train.accumulate`.
    """

    Config = RobertaConfig
    Embeddings = RobertaEmbeddings
    engine, exports = "reads", Bert.exports
    layout = replace(
        LAYOUT, model_type="roberta", prefix="roberta.", positions="max_position_embeddings",
        fixed=LAYOUT.fixed | {"model_type": "roberta"}, defaults=LAYOUT.defaults | {"vocab_size": 50265},
        heads={
            "RobertaModel": ("", NAMES),
            "RobertaForMaskedLM": ("masked_lm", MASKED_LM),
            "RobertaForSequenceClassification": (
                "classify", {"pooler.dense": "classifier.dense", "output": "classifier.out_proj"}
            ),
            "RobertaForMultipleChoice": ("choose", NAMES | {"output": "classifier"}),
            "RobertaForTokenClassification": ("tag", {"output": "classifier"}),
            "RobertaForQuestionAnswering": ("answer", {"output": "qa_outputs"}),
        },
        tied={
            "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
            "lm_head.decoder.bias": "lm_head.bias",
        },
        buffers=r"roberta\.embeddings\.(position_ids|token_type_ids)",
    )  # fmt: skip

    @classmethod
    def with_head(cls, head: Head, config: Any, spec: Any, n_outputs: int) -> Model:
        if head == "masked_lm" and n_outputs:
            raise RecipeError(
                "RoBERTa does not learn whether one text goes on with another", where="task.next_sentence",
                fix="set task.next_sentence=false",
            )  # fmt: skip
        return super().with_head(head, config, spec, n_outputs)

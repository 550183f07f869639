"""The encoder-only translator: one Transformer encoder whose every position writes one target token."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from clew.batches import PairBatch
from clew.config import Choice
from clew.inputs import TokenPair
from clew.models.transformer import EncoderLayer, TransformerConfig
from clew.models.translator import Translator, TranslatorOutput
from clew.nn.dropout import Dropout
from clew.nn.embedding import Embedding
from clew.nn.positions import Learned


class EncoderTranslatorConfig(Choice):
    """Sizes; one post-norm layer with ReLU is the system as it is taught."""

    kind: str = "encoder_translator"
    d_model: int = Field(256, ge=2)
    d_ff: int = Field(1024, ge=1)
    n_heads: int = Field(4, ge=1)
    n_layers: int = Field(1, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    max_length: int = Field(512, ge=1)  # positions, [CLS] included


class EncoderTranslator(Translator):
    """`[CLS] x_1 … x_S </s>` and empty slots go in; position t writes y_t, for all t at once.

    Learned token and position embeddings, a post-norm encoder, a projection to the target vocabulary. Slots past the
    source may look at the source and not at each other, so how many there are changes nothing. There is no order among
    the outputs: each is chosen without knowing the others, which is what the comparison with a decoder shows.
    """

    Config = EncoderTranslatorConfig
    parallel = True
    share_read = 1.0
    target_attention = "layers.*.attention.weights"

    def __init__(self, config: EncoderTranslatorConfig, spec: TokenPair) -> None:
        super().__init__()
        source_size, target_size, pad_id = spec.source.vocab_size, spec.target.vocab_size, spec.target.pad_id
        self.config = config
        self.cls_and_slot = nn.Parameter(torch.randn(2, config.d_model) * 0.02)
        self.embedding = Embedding(source_size, config.d_model, padding_idx=pad_id)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions = Learned(config.d_model, config.max_length)
        self.norm, self.dropout = nn.LayerNorm(config.d_model), Dropout(config.dropout)
        sizes = config.model_dump(include={"d_model", "d_ff", "n_heads", "dropout"})
        layer = TransformerConfig(**sizes, norm="post", activation="relu")
        self.layers = nn.ModuleList(EncoderLayer(layer) for _ in range(config.n_layers))
        self.output = nn.Linear(config.d_model, target_size)

    def write(self, source: Tensor, source_mask: Tensor, length: int) -> Tensor:
        """Hidden states of the first `length` output positions: source (B, S) ids -> (B, length, d_model)."""
        batch, slots = len(source), max(0, length - source.shape[1])
        cls, slot = self.cls_and_slot
        x = torch.where(source_mask[:, :, None], self.embedding(source), slot)
        x = torch.cat([x, slot.expand(batch, slots, -1)], dim=1)
        # [CLS] has position 0 and stands last: attention's row t is then y_t's, and its column s is x_s's.
        x = torch.cat([self.positions(x, start=1), self.positions(cls.expand(batch, 1, -1))], dim=1)
        mask = F.pad(F.pad(source_mask, (0, slots), value=False), (0, 1), value=True)  # source and [CLS] are seen
        x = self.dropout(self.norm(x))
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        return x[:, :length]

    def forward(self, batch: PairBatch) -> TranslatorOutput:
        return TranslatorOutput(self.write(batch.source, batch.source_mask, batch.target_out.shape[1]))

    @property
    def max_length(self) -> int:
        return int(self.config.max_length)

    def output_table(self) -> tuple[Tensor, Tensor]:
        return self.output.weight, self.output.bias

    def project(self, hidden: Tensor) -> Tensor:
        """Logits over the target vocabulary, (…, V)."""
        return self.output(hidden)

"""Embedding: a row of a table for each token id; ids outside the table are explained."""

from __future__ import annotations

from torch import Tensor, nn

from clew.config import Config
from clew.errors import VocabularyError


class EmbeddingConfig(Config):
    """What a table of word vectors begins with, and whether it learns; words that `start` lacks begin as usual."""

    start: str = ""  # a run of word vectors, or a file of them by any tool; none: random
    frozen: bool = False  # the table stays as it began, the rows of words without a vector too

    @property
    def starts_from(self) -> str:
        return self.start


def check_ids(ids: Tensor, size: int, name: str) -> None:
    """Raise VocabularyError, naming the first id outside [0, size) and the size; waits for the device of `ids`."""
    wrong = ids[(ids < 0) | (ids >= size)]
    if wrong.numel():
        raise VocabularyError(
            f"{name} id {int(wrong[0])} is outside the embedding, which has {size} rows (0 to {size - 1})",
            fix="use the model's own tokenizer; a position must be below the longest length that it knows",
        )


class Embedding(nn.Embedding):
    """x_t = E[w_t]: (…) ids → (…, d); `name` says in errors what the ids are.

    On the CPU an id outside the table raises VocabularyError, at no cost when there is none: torch's own check is
    explained after it has failed. A GPU reports such an id as a failed assertion, since looking would make it wait.
    A frozen table has no gradient, so that no optimizer knows it.
    """

    def __init__(
        self, size: int, d: int, *, padding_idx: int | None = None, name: str = "token", frozen: bool = False
    ) -> None:
        super().__init__(size, d, padding_idx=padding_idx)
        self.name = name
        self.weight.requires_grad_(not frozen)

    def forward(self, input: Tensor) -> Tensor:
        try:
            return super().forward(input)
        except (IndexError, RuntimeError):
            if input.device.type == "cpu":
                check_ids(input, self.num_embeddings, self.name)
            raise

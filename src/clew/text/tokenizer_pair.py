"""The tokenizers of a task with a source and a target side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from clew.inputs import Preprocessor, TokenPair
from clew.text.tokenizer import Tokenizer


@dataclass
class TokenizerPair(Preprocessor):
    """Source and target tokenizer: one and the same object where the vocabulary is joint."""

    source: Tokenizer
    target: Tokenizer
    writes: ClassVar[bool] = True  # type: ignore[misc]

    @property
    def joint(self) -> bool:
        return self.source is self.target

    @property
    def spec(self) -> TokenPair:
        return TokenPair(self.source.spec, self.target.spec, self.joint)

    def describe(self) -> dict[str, int]:
        """Return the sizes of the vocabularies and the special ids, which both share."""
        return {"source_vocab_size": len(self.source), "target_vocab_size": len(self.target), **self.ids}

    @property
    def ids(self) -> dict[str, int]:
        """The special ids, which all tokenizers share, as keyword arguments of batches."""
        return {"pad_id": self.target.pad_id, "bos_id": self.target.bos_id, "eos_id": self.target.eos_id}

    def __str__(self) -> str:
        return f"{len(self.target):,} target tokens in the vocabulary"

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, or `tokenizer.source.json` and `tokenizer.target.json`."""
        if self.joint:
            self.source.save(folder / "tokenizer.json")
        else:
            self.source.save(folder / "tokenizer.source.json")
            self.target.save(folder / "tokenizer.target.json")

    @classmethod
    def load(cls, folder: Path) -> TokenizerPair:
        """What `save` wrote. Raises RunError where it is missing or damaged."""
        if (folder / "tokenizer.source.json").is_file():
            return cls(*(Tokenizer.load(folder / f"tokenizer.{side}.json") for side in ("source", "target")))
        joint = Tokenizer.load(folder / "tokenizer.json")
        return cls(joint, joint)

"""One error type per cause; each says what was wrong, where, and what to do about it."""

from __future__ import annotations


class ClewError(Exception):
    """Base of every error that clew raises on purpose.

    `what` is one sentence about the failure, `where` a file, line, key or batch, `fix` what the user can do.
    `exit_code` is what the command line returns: 2 where the request was wrong, 1 where the work failed.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        lines = [what, f"  where: {where}" if where else "", f"  fix:   {fix}" if fix else ""]
        super().__init__("\n".join(line for line in lines if line))


class RecipeError(ClewError):
    """The recipe, an override or a command-line argument is wrong."""

    exit_code = 2


class DataError(ClewError):
    """A data file is missing, malformed or empty."""

    exit_code = 2


class MissingExtra(ClewError):
    """A feature needs an optional package that is not installed."""

    exit_code = 2


class VocabularyError(ClewError):
    """A token id lies outside the vocabulary or the embedding."""


class RunError(ClewError):
    """A run folder is missing, incomplete or damaged."""

    exit_code = 2


class CheckpointError(RunError):
    """A checkpoint is missing, fails its checksum or belongs to another recipe."""

    exit_code = 1


class NonFiniteLoss(ClewError):
    """The loss or the gradient norm became NaN or infinite; the batch is named."""


def told(error: Exception) -> str:
    """Return what an error says went wrong, without where and what to do."""
    return error.what if isinstance(error, ClewError) else str(error)

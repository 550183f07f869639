"""Run folders: write them, read them."""

from clew.runs.folder import Run

__all__ = ["Run"]

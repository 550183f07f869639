"""Looking inside: plain data, no pictures."""

from clew.nn.taps import capture

__all__ = ["capture"]

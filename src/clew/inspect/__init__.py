"""Looking inside: plain data, no pictures."""

from clew.inspect.taps import capture

__all__ = ["capture"]

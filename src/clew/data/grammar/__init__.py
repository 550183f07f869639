"""The embedded corpus: English–French pairs with gold word alignments, written by a synchronous grammar."""

from clew.data.grammar.source import Grammar

__all__ = ["Grammar"]

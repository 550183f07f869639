"""clew: one workbench for the whole thread from word2vec to the Transformer."""

__version__ = "0.1.0"

"""Metrics: each a corpus score with its bootstrap interval and signature."""

from clew.metrics.alignment import Alignment, Links, aer, parse_links
from clew.metrics.bleu import bleu, chrf
from clew.metrics.bootstrap import PairedTest, Score, bootstrap, paired_bootstrap
from clew.metrics.perplexity import perplexity

__all__ = [
    "Alignment",
    "Links",
    "PairedTest",
    "Score",
    "aer",
    "bleu",
    "bootstrap",
    "chrf",
    "paired_bootstrap",
    "parse_links",
    "perplexity",
]

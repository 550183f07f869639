"""Outputs that repeat themselves are told from those that do not."""

from clew.metrics.repetition import repeating


def test_repeating() -> None:
    stuck = ["the the the the the the", "eseseseseses", "a man in a man in a man in a man in a man in"]
    assert repeating(stuck) == 1
    assert repeating(["a man runs .", "no , no , no !", "1 000 000 000 000", "....... what ?", ""]) == 0
    assert repeating([*stuck, "a dog"]) == 0.75
    assert repeating([]) == 0

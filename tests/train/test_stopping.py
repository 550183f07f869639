"""Which weights are kept, when patience counts, and the words for both."""

from __future__ import annotations

import pytest

from clew.config import BudgetConfig
from clew.train.budget import Progress
from clew.train.stopping import EarlyStopping, ending


def seen(standing: EarlyStopping, *validations: tuple[float, float], floor: float = 2.0, lr: float = 0.1) -> list[int]:
    """Show validations, (quality, loss) each, at a rate that no longer rises; return the steps that were kept."""
    standing.lr = lr
    first = 1 + standing.best_step
    return [
        step for step, (quality, loss) in enumerate(validations, first) if standing.see(step, lr, quality, loss, floor)
    ]


def test_a_quality_of_noise_does_not_choose() -> None:
    """BLEU 0.1 at a perplexity of thousands was kept, and the lowest loss thrown away."""
    standing = EarlyStopping()
    assert seen(standing, (0.12, 8.9), (0.05, 7.0), (0.0, 5.7), (0.03, 5.8)) == [1, 2, 3]
    assert (
        standing.kept("BLEU", 2.0)
        == "step 3, by its validation loss, 5.7, the lowest: no BLEU rose above 2, what guessing reaches"
    )


def test_a_quality_above_its_floor_chooses_and_of_two_alike_the_lower_loss() -> None:
    standing = EarlyStopping()
    assert seen(standing, (1.0, 5.0), (3.0, 5.5), (2.5, 4.0), (3.0, 5.0), (3.0, 6.0), (9.0, 7.0)) == [1, 2, 4, 6]
    assert standing.by_quality and standing.best == 9.0
    assert standing.kept("BLEU", 2.0) == "step 6, by its BLEU on the validation split, 9, the best"


def test_patience_counts_neither_in_warm_up_nor_while_the_loss_falls() -> None:
    standing = EarlyStopping()
    for step, loss in enumerate([5.0, 5.2, 5.3, 5.4], 1):  # the rate still rises
        standing.see(step, 0.1 * step, 0.0, loss, 2.0)
    assert standing.since_best == 0
    for step, loss in enumerate([4.9, 4.8, 4.7], 5):
        standing.see(step, 0.4, 0.0, loss, 2.0)
    assert standing.since_best == 0
    for step in (8, 9):
        standing.see(step, 0.4, 0.0, 4.9, 2.0)
    assert standing.since_best == 2


def test_without_a_loss_the_newest_of_equals_is_kept() -> None:
    standing = EarlyStopping(lr=1.0)
    assert [standing.see(n, 0.1, value, None, 0.0) for n, value in enumerate([0.0, 0.0, -1.0, 0.0], 1)] == [
        True, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("progress", "since_best", "by", "words"),
    [
        (Progress(step=10), 0, "budget", "its budget was used (10 steps)"),
        (Progress(step=4), 3, "patience", "3 validations in a row were no better; to go on nevertheless, --resume"),
        (Progress(step=4), 0, "data", "no more batches"),
    ],
)
def test_what_ended_a_training_is_said(progress: Progress, since_best: int, by: str, words: str) -> None:
    told = ending(BudgetConfig(steps=10), progress, 3, EarlyStopping(since_best=since_best))
    assert told[0] == by and words in told[1]
    falling = ending(BudgetConfig(steps=10), Progress(step=10), None, EarlyStopping(falling=True))
    assert "still falling: a larger train.budget would give a better model" in falling[1]

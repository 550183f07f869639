"""The moving average: what is averaged beside the weights."""

from __future__ import annotations

import pytest
from torch import nn

from clew.train.average import Average


def test_statistics_are_averaged_with_the_weights() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    norm: nn.BatchNorm1d = model[1]  # type: ignore[assignment]
    average = Average(model, 0.5)
    assert norm.running_mean is not None
    norm.running_mean.fill_(11.0)
    average.update(0)  # the decay at the start is 1 / 10
    with average.in_place():
        assert norm.running_mean.tolist() == pytest.approx([9.9] * 3)
    assert norm.running_mean.tolist() == [11.0] * 3
    assert len(average.weights) == 4 + 2  # no count, which has no mean


def test_what_a_model_does_not_save_is_not_averaged() -> None:
    model = nn.Linear(2, 3)
    model.register_buffer("table", model.weight.detach().clone(), persistent=False)
    assert len(Average(model, 0.5).weights) == 2

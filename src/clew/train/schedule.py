"""Learning-rate schedules: factor(step, done) of the peak rate, `done` being the share of the budget that is used.

Warm-up counts optimizer steps; what decays follows the budget, whatever its unit, so that the rate reaches its end
exactly when the budget does.
"""

from __future__ import annotations

import math

from pydantic import Field

from clew.config import Choice


class ScheduleConfig(Choice):
    kind: str
    warmup: int = Field(0, ge=0)  # optimizer steps of linear rise


class Schedule:
    """Base: linear warm-up, then `decay(step, done)`."""

    Config = ScheduleConfig

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config

    def __call__(self, step: int, done: float) -> float:
        """The factor for optimizer step `step` (from 1) when the share `done` in [0, 1] of the budget is used."""
        warmup = min(1.0, step / self.config.warmup) if self.config.warmup else 1.0
        return warmup * self.decay(step, min(max(done, 0.0), 1.0))

    def decay(self, step: int, done: float) -> float:
        raise TypeError(f"{type(self).__name__} does not say how it decays")


class Constant(Schedule):
    """1."""

    class Config(ScheduleConfig):
        kind: str = "constant"

    def decay(self, step: int, done: float) -> float:
        return 1.0


class InverseSqrt(Schedule):
    """√(warmup / step) after the warm-up (Vaswani et al. 2017, eq. 3, scaled to peak at 1)."""

    class Config(ScheduleConfig):
        kind: str = "inverse_sqrt"
        warmup: int = Field(400, ge=1)

    def decay(self, step: int, done: float) -> float:
        return min(1.0, math.sqrt(self.config.warmup / step))


class Linear(Schedule):
    """1 - done."""

    class Config(ScheduleConfig):
        kind: str = "linear"

    def decay(self, step: int, done: float) -> float:
        return 1.0 - done


class CosineConfig(ScheduleConfig):
    kind: str = "cosine"
    floor: float = Field(0.0, ge=0, le=1)


class Cosine(Schedule):
    """Half a cosine from 1 to `floor`."""

    Config = CosineConfig
    config: CosineConfig

    def decay(self, step: int, done: float) -> float:
        return self.config.floor + (1 - self.config.floor) * 0.5 * (1 + math.cos(math.pi * done))


class OneCycleConfig(ScheduleConfig):
    kind: str = "one_cycle"
    rise: float = Field(0.3, gt=0, lt=1)
    start: float = Field(0.04, ge=0, le=1)  # factor at the very beginning


class OneCycle(Schedule):
    """Up by a cosine over the first `rise` of the budget, down by a cosine over the rest (Smith and Topin 2018)."""

    Config = OneCycleConfig
    config: OneCycleConfig

    def decay(self, step: int, done: float) -> float:
        rise, start = self.config.rise, self.config.start
        if done < rise:
            return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * done / rise))
        return 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))

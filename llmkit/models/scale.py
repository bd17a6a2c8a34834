"""Mean and standard deviation of a regression's numbers. Pure functions of plain numbers; knows no models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.errors import DataError

_LARGEST, _SMALLEST = 1e16, 1e-16
"""Beyond these a squared difference may exceed the range of float32."""
_LARGEST_RATIO = 1e6
"""Of mean to standard deviation: float32 has 24 bits, and cannot distinguish numbers that differ by less."""


@dataclass(frozen=True)
class TargetScale:
    """A head's output times `deviation`, plus `mean`, is a number in the unit of the rows."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float], *, shifted: bool = True) -> TargetScale:
        """Mean and standard deviation of the training rows' numbers.

        Args:
            shifted: False for a mean of 0, and the deviation from 0.

        Raises:
            DataError: float32 weights cannot tell the numbers apart, or cannot reach them.
        """
        scale = cls(*mean_and_deviation(values))
        largest = max(map(abs, values))
        if largest > _LARGEST or scale.deviation < _SMALLEST:
            raise DataError(
                f"the numbers of the training rows have absolute values up to {largest:g}, with a standard deviation of "
                f"{scale.deviation:g}; float32 weights need at most {_LARGEST:g} and at least {_SMALLEST:g}. Use "
                "another unit."
            )
        if abs(scale.mean) > _LARGEST_RATIO * scale.deviation:
            raise DataError(
                f"the numbers of the training rows have mean {scale.mean:g} and standard deviation "
                f"{scale.deviation:g}, too close together for float32 weights to distinguish. Subtract the mean from them."
            )
        return scale if shifted else cls(0.0, math.hypot(scale.mean, scale.deviation))

    @property
    def inverse(self) -> TargetScale:
        return TargetScale(mean=-self.mean / self.deviation, deviation=1 / self.deviation)

    def standardise(self, value: float) -> float:
        return (value - self.mean) / self.deviation


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the standard deviation of the population (divided by N), independent of the order of the values."""
    mean = math.fsum(value / len(values) for value in values)
    largest = max(abs(value - mean) for value in values)
    if not largest:
        return mean, 0.0
    squares = math.fsum(((value - mean) / largest) ** 2 for value in values)  # of at most 1: nothing overflows
    return mean, largest * math.sqrt(squares / len(values))

"""An interval and its settings. Imports nothing that takes long."""

from __future__ import annotations

from typing import NamedTuple

RESAMPLES = 1000
SEED = 0
LEVEL = 0.95


class Interval(NamedTuple):
    """Both are NaN where there is no interval."""

    low: float
    high: float

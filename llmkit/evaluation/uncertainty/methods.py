"""The ends of an interval, from the values of a score on resamples. Knows neither rows nor scores.

Legend: R resamples.
"""

from __future__ import annotations

import math

import numpy as np

from llmkit.evaluation.uncertainty.interval import Interval
from llmkit.evaluation.uncertainty.statistics import FloatArray

_SMALL_ERROR, _MOST_SMALL = 0.1, 0.005
"""A resample whose standard error is below this share of the sample's says nothing. If more than this share of the
resamples are such, few units decide the score, and it cannot be studentized."""


def t_interval(estimate: float, error: float, *, freedom: float, level: float) -> Interval:
    """Student's t, from a standard error with so many degrees of freedom."""
    from scipy.special import stdtrit

    width = float(stdtrit(freedom, (1 + level) / 2)) * error
    return Interval(estimate - width, estimate + width)


def studentized(
    estimate: float, influences: FloatArray, values: FloatArray, errors: FloatArray, *, level: float
) -> Interval | None:
    """The studentized bootstrap, or bootstrap-t (Efron and Tibshirani 1993, chapter 12.5): the deviations of resamples
    count in their own standard errors.

    Its quantiles are widened as those of Student's t where few units decide the score: a sample tells less about its own
    standard error then. None if too many resamples have a standard error of about 0.

    Args:
        influences: (U,) the derivative of the score by the weight of each unit, less their mean.
        values: (R,) on resamples.
        errors: (R,) the standard errors of these, by the delta method.
    """
    from scipy.special import stdtrit

    units, error = len(influences), math.sqrt(float(np.sum(influences**2)))
    usable = np.isfinite(errors) & (errors > _SMALL_ERROR * error)
    if not 0 < error < math.inf or np.count_nonzero(~usable) > _MOST_SMALL * len(values):
        return None
    few, many = (float(stdtrit(freedom, (1 + level) / 2)) for freedom in (freedom_of(influences), units - 1))
    deviations = np.quantile((values[usable] - estimate) / errors[usable], [(1 - level) / 2, (1 + level) / 2])
    low, high = deviations * few / many * error
    return Interval(float(estimate - high), float(estimate - low))


def freedom_of(influences: FloatArray) -> float:
    """The degrees of freedom of a standard error from these influences, (U,) with a mean of 0: that of the chi-squared
    distribution with its variance (Satterthwaite 1946). U - 1 or less; 2 if one unit decides alone.
    """
    effective = effective_units(influences)
    units = len(influences)
    return min(units - 1, 2 / (1 / effective - 1 / units)) if effective < units else units - 1


def effective_units(influences: FloatArray) -> float:
    """How many units would decide the score if all that do had the same influence: from 1 to U."""
    return float(np.sum(influences**2) ** 2 / np.sum(influences**4))


def accelerated(estimate: float, values: FloatArray, left_out: FloatArray, *, units: int, level: float) -> Interval:
    """The bias-corrected and accelerated bootstrap (BCa, chapter 14.3), at levels that make up for few units as Student's t
    does for a mean (Hesterberg 2015, "What teachers should know about the bootstrap", section 3.3).

    Args:
        values: (R,) on resamples, all finite and not all equal.
        left_out: the values without one group of units each.
        units: number of rows or clusters.
    """
    from scipy.special import ndtr, ndtri

    below = (np.count_nonzero(values < estimate) + 0.5 * np.count_nonzero(values == estimate)) / len(values)
    smallest = 0.5 / len(values)
    bias = ndtri(min(max(below, smallest), 1 - smallest))
    acceleration = _acceleration(left_out)
    ends = []
    for z in _normal_quantiles(units=units, level=level):
        shifted = bias + z
        ends.append(ndtr(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(values, sorted(ends))
    return Interval(float(low), float(high))


def _normal_quantiles(*, units: int, level: float) -> tuple[float, float]:
    """The ends of the interval in standard errors, wider for few units: a resample of U units varies as if divided by U,
    not by U - 1, and Student's t has longer tails than the normal distribution."""
    from scipy.special import stdtrit

    width = math.sqrt(units / (units - 1)) * float(stdtrit(units - 1, (1 + level) / 2))
    return -width, width


def _acceleration(left_out: FloatArray) -> float:
    """A sixth of the skewness of the score, from its values without one group of units each; 0 for a mean of a
    symmetric distribution."""
    differences = left_out.mean() - left_out if len(left_out) else left_out
    squares = float(np.sum(differences**2))
    return float(np.sum(differences**3)) / (6 * squares**1.5) if squares > 0 else 0.0


def edge(estimate: float, bounds: tuple[float, float] | None, *, units: int, level: float) -> Interval:
    """The interval of a score that is the same for all resamples, such as the accuracy if all rows are correct.

    At the end of its scale, other rows may exist of which these have none: as for a share of 0 of these units
    (Clopper and Pearson 1934), their share may be so large that none is drawn with a probability of (1 - level) / 2.
    """
    if bounds is None or estimate not in bounds or not all(map(math.isfinite, bounds)):
        return Interval(estimate, estimate)
    unseen = 1 - ((1 - level) / 2) ** (1 / units)
    low, high = bounds
    width = unseen * (high - low)
    return Interval(low, low + width) if estimate == low else Interval(high - width, high)

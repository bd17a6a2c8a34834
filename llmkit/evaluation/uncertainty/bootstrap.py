"""Confidence intervals by the bootstrap (Efron and Tibshirani 1993) over rows, or over clusters of rows.

A resample draws as many rows, or whole clusters, as there are, with replacement. All scores are computed on the same
resamples. The method depends on the kind of score:

- studentized, if it is a smooth function of sums over rows: means, ratios, F1, BLEU, correlations;
- bias-corrected and accelerated (BCa) if it depends on ranks, if there are hundreds of sums, and if so few rows decide it
  that resamples have none of them;
- Clopper and Pearson's, if it is at the end of its scale on all resamples;
- Student's t for the difference between two systems.

Legend: N rows, U units (rows or clusters), R resamples.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from llmkit.evaluation.uncertainty.interval import LEVEL, RESAMPLES, SEED, Interval
from llmkit.evaluation.uncertainty.methods import accelerated, edge, studentized, t_interval
from llmkit.evaluation.uncertainty.statistics import FloatArray, RowStatistics
from llmkit.evaluation.uncertainty.units import Clusters, Units

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "SEED",
    "Clusters",
    "Interval",
    "count_clusters",
    "difference_intervals",
    "intervals",
    "resampled_scores",
]

logger = logging.getLogger("llmkit")
_MOST_UNDEFINED = 0.05
"""Share of the resamples. Without more of them, the others say too little."""


def intervals(
    statistics: RowStatistics,
    *,
    clusters: Clusters | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """The interval of each score.

    Resamples in which a score is undefined are left out of its interval, with a warning. If they are too many, or there
    is only one row or cluster, there is no interval.

    Args:
        clusters: None if all rows are independent.
        level: the share of such intervals that contain the score of the population that the rows were drawn from.
    """
    units = Units.of(statistics.rows, clusters)
    estimates = statistics.resampled(np.ones((1, statistics.rows)))
    if units.count < 2:
        return dict.fromkeys(estimates, Interval(math.nan, math.nan))
    influences = unit_influences(statistics, units)
    drawn = _drawn(statistics, units, units.resamples(resamples, seed))
    left_out = _scores(statistics, units, units.without_groups(seed))
    found = {}
    for name, (estimate,) in estimates.items():
        low, high = statistics.bounds.get(name, (-math.inf, math.inf))
        scored = _Resampled(
            estimate=float(estimate),
            values=drawn.values[name],
            influences=influences.get(name),
            errors=drawn.errors.get(name, np.full(resamples, math.nan)),
            left_out=left_out[name],
            bounds=(low, high),
        )
        interval = _defined_interval(name, scored, units=units.count, level=level)
        found[name] = Interval(max(interval.low, low), min(interval.high, high))  # NaN stays
    return found


def count_clusters(clusters: Clusters) -> int:
    """The number of clusters; a row without one, whose cluster is None, counts as one of its own."""
    return Units.of(len(clusters), clusters).count


def resampled_scores(
    statistics: RowStatistics,
    *,
    clusters: Clusters | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, FloatArray]:
    """(R,) the values of each score on resamples of the rows or clusters; NaN where it is undefined."""
    units = Units.of(statistics.rows, clusters)
    return _scores(statistics, units, units.resamples(resamples, seed))


def unit_influences(statistics: RowStatistics, units: Units) -> dict[str, FloatArray]:
    """(U,) the derivative of each smooth score by the weight of each unit, less their mean."""
    if statistics.influences is None:
        return {}
    rows = statistics.influences(np.ones((1, statistics.rows)))
    sums = {name: units.sums(values)[0] for name, values in rows.items()}
    return {name: values - values.mean() for name, values in sums.items()}


def difference_intervals(
    statistics: RowStatistics,
    *,
    clusters: Clusters | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    level: float = LEVEL,
) -> dict[str, tuple[Interval, float]]:
    """The interval of each difference between two systems on the same rows, and its standard error: NaN if undefined.

    By Student's t with the standard deviation of resamples. The differences of rows are nearly symmetric, and 0 in many
    rows: the quantiles of a studentized bootstrap are less certain than those of t then.

    Args:
        statistics: of the differences.
    """
    units = Units.of(statistics.rows, clusters)
    estimates = statistics.resampled(np.ones((1, statistics.rows)))
    if units.count < 2:
        return dict.fromkeys(estimates, (Interval(math.nan, math.nan), math.nan))
    found = {}
    for name, values in _scores(statistics, units, units.resamples(resamples, seed)).items():
        estimate, error = float(estimates[name][0]), math.nan
        if math.isfinite(estimate) and _is_defined_often(name, values):
            error = float(np.nanstd(values)) * math.sqrt(units.count / (units.count - 1))
        if error <= 1e-12:
            bounds = statistics.bounds.get(name, (-math.inf, math.inf))
            found[name] = (edge(estimate, bounds, units=units.count, level=level), 0.0)
        else:
            found[name] = (t_interval(estimate, error, freedom=units.count - 1, level=level), error)
    return found


class _Drawn(NamedTuple):
    """Scores of resamples, and their standard errors by the delta method, for those that are smooth."""

    values: dict[str, FloatArray]
    """(R,) of each score."""
    errors: dict[str, FloatArray]


def _drawn(statistics: RowStatistics, units: Units, chunks: Iterable[FloatArray]) -> _Drawn:
    values, errors = [], []
    for weights in chunks:
        of_rows = units.of_rows(weights)
        values.append(statistics.resampled(of_rows))
        influences = {} if statistics.influences is None else statistics.influences(of_rows)
        errors.append({name: _error(units.sums(rows), weights) for name, rows in influences.items()})
    return _Drawn(_joined(values), _joined(errors))


def _error(influences: FloatArray, weights: FloatArray) -> FloatArray:
    """(R,) standard errors.

    Args:
        influences: (R, U) the derivative of the score by the weight of each unit.
        weights: (R, U)
    """
    squares = np.einsum("ru,ru,ru->r", weights, influences, influences)
    mean = np.einsum("ru,ru->r", weights, influences) / weights.shape[1]
    errors: FloatArray = np.sqrt(np.maximum(squares - weights.shape[1] * mean**2, 0.0))
    return errors


def _scores(statistics: RowStatistics, units: Units, chunks: Iterable[FloatArray]) -> dict[str, FloatArray]:
    return _joined([statistics.resampled(units.of_rows(weights)) for weights in chunks])


def _joined(chunks: list[dict[str, FloatArray]]) -> dict[str, FloatArray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


class _Resampled(NamedTuple):
    """A score, and what resamples say about it."""

    estimate: float
    values: FloatArray
    """(R,)"""
    influences: FloatArray | None
    """(U,) its derivative by the weight of each unit; None if it has none."""
    errors: FloatArray
    """(R,) its standard errors on resamples."""
    left_out: FloatArray
    """Its values without one group of units each."""
    bounds: tuple[float, float]


def _defined_interval(name: str, scored: _Resampled, *, units: int, level: float) -> Interval:
    estimate, values = scored.estimate, scored.values
    if not math.isfinite(estimate) or not _is_defined_often(name, values):
        return Interval(math.nan, math.nan)
    is_defined = np.isfinite(values)
    defined = values[is_defined]
    if np.ptp(defined) <= 1e-12 * max(1.0, abs(estimate)):
        return edge(estimate, scored.bounds, units=units, level=level)
    if scored.influences is not None:
        interval = studentized(estimate, scored.influences, defined, scored.errors[is_defined], level=level)
        if interval is not None:
            return interval
    return accelerated(estimate, defined, scored.left_out[np.isfinite(scored.left_out)], units=units, level=level)


def _is_defined_often(name: str, values: FloatArray) -> bool:
    """Whether enough resamples have a score; warns of those that do not."""
    undefined = np.count_nonzero(~np.isfinite(values))
    if undefined > _MOST_UNDEFINED * len(values):
        logger.warning(
            "%s: no interval, since it is undefined in %s of %s resamples", name, f"{undefined:,}", f"{len(values):,}"
        )
        return False
    if undefined:
        logger.warning(
            "%s: its interval leaves out %s of %s resamples, in which it is undefined",
            name, f"{undefined:,}", f"{len(values):,}",
        )  # fmt: skip
    return True

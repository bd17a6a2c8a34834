"""Confidence intervals by the bootstrap (Efron and Tibshirani 1993) over rows, or over clusters of rows.

A resample draws as many rows, or whole clusters, as there are, with replacement. All scores are computed on the same
resamples. The method is in `_interval` alone: bias-corrected and accelerated (chapter 14.3), at levels that make up for
few units as Student's t does for a mean (Hesterberg 2015, "What teachers should know about the bootstrap", section 3.3).

Legend: N rows, U units (rows or clusters), R resamples.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmkit.evaluation.uncertainty.interval import LEVEL, RESAMPLES, SEED, Interval
from llmkit.evaluation.uncertainty.statistics import FloatArray, RowStatistics

__all__ = ["LEVEL", "RESAMPLES", "SEED", "Clusters", "Interval", "count_clusters", "intervals", "resampled_scores"]

logger = logging.getLogger("llmkit")
Clusters = Sequence[Hashable] | NDArray[np.int64]
"""(N,) the cluster of each row; None for a row that is independent of all others."""
_ELEMENTS_AT_ONCE = 2**20
"""Weights in memory at once: 8 MiB."""
_GROUPS = 200
"""At most so many parts of the rows are left out in turn, to estimate the skewness of a score."""
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
    units = _Units.of(statistics.rows, clusters)
    if units.count < 2:
        names = statistics.resampled(np.ones((1, statistics.rows)))
        return dict.fromkeys(names, Interval(math.nan, math.nan))
    estimates = {name: float(values[0]) for name, values in statistics.resampled(np.ones((1, statistics.rows))).items()}
    drawn = resampled_scores(statistics, clusters=clusters, resamples=resamples, seed=seed)
    left_out = _all_scores(statistics, units.without_groups(seed))
    return {
        name: _defined_interval(
            name,
            estimate,
            drawn[name],
            left_out[name],
            units=units.count,
            level=level,
            bounds=statistics.bounds.get(name),
        )
        for name, estimate in estimates.items()
    }


def count_clusters(clusters: Clusters) -> int:
    """The number of clusters; a row without one, whose cluster is None, counts as one of its own."""
    return _Units.of(len(clusters), clusters).count


def resampled_scores(
    statistics: RowStatistics,
    *,
    clusters: Clusters | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, FloatArray]:
    """(R,) the values of each score on resamples of the rows or clusters; NaN where it is undefined."""
    return _all_scores(statistics, _Units.of(statistics.rows, clusters).resamples(resamples, seed))


def _all_scores(statistics: RowStatistics, chunks: Iterable[FloatArray]) -> dict[str, FloatArray]:
    scores = [statistics.resampled(weights) for weights in chunks]
    return {name: np.concatenate([chunk[name] for chunk in scores]) for name in scores[0]}


@dataclass(frozen=True)
class _Units:
    """What is drawn: rows, or clusters of rows."""

    count: int
    of_row: NDArray[np.int64] | None
    """(N,) the cluster of each row; None if each row is a unit."""

    @classmethod
    def of(cls, rows: int, clusters: Clusters | None) -> _Units:
        """Clusters are numbered in the order of their first rows: their names do not matter."""
        if clusters is None:
            return cls(rows, None)
        if len(clusters) != rows:
            raise ValueError(f"{len(clusters)} clusters for {rows} rows")
        keys = [(row, None) if cluster is None else (None, cluster) for row, cluster in enumerate(clusters)]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        if len(numbers) == rows:
            return cls(rows, None)
        return cls(len(numbers), np.array([numbers[key] for key in keys]))

    def resamples(self, count: int, seed: int) -> Iterator[FloatArray]:
        """Arrays (some, N) of how often each row is drawn, `count` in all."""
        rng = np.random.Generator(np.random.PCG64(seed))
        for size in self._sizes(count):
            drawn = rng.integers(self.count, size=(size, self.count))
            drawn += self.count * np.arange(size)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=size * self.count)
            yield self._of_rows(counts.reshape(size, self.count).astype(np.float64))

    def without_groups(self, seed: int) -> Iterator[FloatArray]:
        """Arrays (some, N) with 0 for the rows of one group of units, at random, and 1 for all others."""
        groups = min(self.count, _GROUPS)
        rng = np.random.Generator(np.random.PCG64(seed))
        group_of = rng.permutation(self.count) % groups
        start = 0
        for size in self._sizes(groups):
            kept = group_of != np.arange(start, start + size)[:, None]
            start += size
            yield self._of_rows(kept.astype(np.float64))

    def _of_rows(self, weights: FloatArray) -> FloatArray:
        return weights if self.of_row is None else weights[:, self.of_row]

    def _sizes(self, count: int) -> Iterator[int]:
        rows = self.count if self.of_row is None else len(self.of_row)
        most = max(1, _ELEMENTS_AT_ONCE // rows)
        for start in range(0, count, most):
            yield min(most, count - start)


def _defined_interval(
    name: str,
    estimate: float,
    values: FloatArray,
    left_out: FloatArray,
    *,
    units: int,
    level: float,
    bounds: tuple[float, float] | None,
) -> Interval:
    defined = values[np.isfinite(values)]
    undefined = len(values) - len(defined)
    if not math.isfinite(estimate) or undefined > _MOST_UNDEFINED * len(values):
        if math.isfinite(estimate):
            logger.warning(
                "%s: no interval, since it is undefined in %s of %s resamples",
                name,
                f"{undefined:,}",
                f"{len(values):,}",
            )
        return Interval(math.nan, math.nan)
    if undefined:
        logger.warning(
            "%s: its interval leaves out %s of %s resamples, in which it is undefined",
            name, f"{undefined:,}", f"{len(values):,}",
        )  # fmt: skip
    same = np.ptp(defined) <= 1e-12 * max(1.0, abs(estimate))
    if same:
        return _edge(estimate, bounds, units=units, level=level)
    return _interval(estimate, defined, left_out[np.isfinite(left_out)], units=units, level=level)


def _edge(estimate: float, bounds: tuple[float, float] | None, *, units: int, level: float) -> Interval:
    """The interval of a score that is the same for all resamples, such as the accuracy if all rows are correct.

    At the end of its scale, other rows may exist of which these have none: as for a share of 0 of these units
    (Clopper and Pearson 1934), their share may be so large that none is drawn with a probability of (1 - level) / 2.
    """
    if bounds is None or estimate not in bounds:
        return Interval(estimate, estimate)
    unseen = 1 - ((1 - level) / 2) ** (1 / units)
    low, high = bounds
    width = unseen * (high - low)
    return Interval(low, low + width) if estimate == low else Interval(high - width, high)


def _interval(estimate: float, values: FloatArray, left_out: FloatArray, *, units: int, level: float) -> Interval:
    """The interval of a score with these values on resamples: this function is the method.

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

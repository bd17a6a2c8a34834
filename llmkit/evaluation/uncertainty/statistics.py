"""Scores of resampled rows, from what each row contributes to them. Knows neither metrics nor files.

Legend: N rows, R resamples, K statistics of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmkit.tasks.base import RowStatistics

__all__ = ["FloatArray", "RowStatistics", "difference", "merged", "of_means", "of_sums", "ratio", "without"]

FloatArray = NDArray[np.float64]
_MOST_SUMS = 400
"""More sums, as of hundreds of labels, would take too long to derive one by one."""
_STEP = 1e-5


def of_sums(sums: Any, scores: Callable[[FloatArray], dict[str, FloatArray]]) -> RowStatistics:
    """Statistics of scores that depend on the rows only through sums over them.

    Args:
        sums: (N, K), an array or one of scipy.sparse.
        scores: (R, K) sums over the rows of each resample -> score name -> (R,) values.
    """

    def resampled(weights: FloatArray) -> dict[str, FloatArray]:
        return scores(np.asarray(weights @ sums))

    if sums.shape[1] > _MOST_SUMS:
        return RowStatistics(sums.shape[0], resampled)
    sizes = np.asarray(abs(sums).sum(axis=0)).ravel()  # (K,)
    has_signs = np.asarray((sums < 0).sum(axis=0)).ravel() > 0
    columns = sums.T

    def influences(weights: FloatArray) -> dict[str, FloatArray]:
        totals = np.asarray(weights @ sums)
        steps = _STEP * np.where(has_signs, sizes, totals)  # (R, K); a sum of 0 without signs has no rows that count
        return {name: np.asarray(slopes @ columns) for name, slopes in _gradients(scores, totals, steps).items()}

    return RowStatistics(sums.shape[0], resampled, influences=influences)


def _gradients(
    scores: Callable[[FloatArray], dict[str, FloatArray]], totals: FloatArray, steps: FloatArray
) -> dict[str, FloatArray]:
    """The derivative of each score by each of the sums, (R, K), by finite differences; 0 where the step is 0."""
    values = scores(totals)
    gradients = {name: np.zeros_like(totals) for name in values}
    for column in range(totals.shape[1]):
        step = steps[:, column]
        if not step.any():
            continue
        moved = totals.copy()
        moved[:, column] += step
        for name, changed in scores(moved).items():
            with np.errstate(invalid="ignore"):  # of an infinite perplexity: NaN
                gradients[name][:, column] = ratio(changed - values[name], step)
    return gradients


def of_means(columns: Mapping[str, ArrayLike]) -> RowStatistics:
    """Statistics of scores that are means over rows.

    Args:
        columns: score name -> (N,) the value of each row.
    """
    values = [np.asarray(column, dtype=np.float64) for column in columns.values()]
    table = np.stack([*values, np.ones_like(values[0])], axis=1)  # (N, K + 1)

    def scores(sums: FloatArray) -> dict[str, FloatArray]:
        return {name: sums[:, index] / sums[:, -1] for index, name in enumerate(columns)}

    return of_sums(table, scores)


def merged(statistics: Sequence[RowStatistics]) -> RowStatistics:
    """The statistics of several groups of scores on the same rows."""

    def resampled(weights: FloatArray) -> dict[str, FloatArray]:
        return {name: values for each in statistics for name, values in each.resampled(weights).items()}

    def influences(weights: FloatArray) -> dict[str, FloatArray]:
        derived = [each.influences(weights) for each in statistics if each.influences is not None]
        return {name: values for each in derived for name, values in each.items()}

    bounds = {name: pair for each in statistics for name, pair in each.bounds.items()}
    return RowStatistics(statistics[0].rows, resampled, bounds, influences)


def without(statistics: RowStatistics, names: Container[str]) -> RowStatistics:
    """The statistics of all scores but these."""

    def others(scores: dict[str, FloatArray]) -> dict[str, FloatArray]:
        return {name: values for name, values in scores.items() if name not in names}

    influences = statistics.influences
    return RowStatistics(
        statistics.rows,
        lambda weights: others(statistics.resampled(weights)),
        statistics.bounds,
        None if influences is None else lambda weights: others(influences(weights)),
    )


def difference(first: RowStatistics, second: RowStatistics, *, names: Container[str] | None = None) -> RowStatistics:
    """Statistics of the scores of `first` minus those of `second`, paired: both get the same rows of each resample.

    Args:
        names: of the scores; without them, all that both have.
    """

    def resampled(weights: FloatArray) -> dict[str, FloatArray]:
        others = second.resampled(weights)
        return {
            name: values - others[name]
            for name, values in first.resampled(weights).items()
            if name in others and (names is None or name in names)
        }

    bounds = {name: (low - high, high - low) for name, (low, high) in first.bounds.items()}
    return RowStatistics(first.rows, resampled, bounds)


def ratio(numerator: FloatArray, denominator: FloatArray, *, otherwise: float = 0.0) -> FloatArray:
    """The quotients, and `otherwise` where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(denominator, otherwise), where=denominator != 0)

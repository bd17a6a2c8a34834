"""Scores of resampled rows, from what each row contributes to them. Knows neither metrics nor files.

Legend: N rows, R resamples, K statistics of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmkit.tasks.base import RowStatistics

__all__ = ["FloatArray", "RowStatistics", "difference", "merged", "of_means", "of_sums", "ratio"]

FloatArray = NDArray[np.float64]


def of_sums(sums: Any, scores: Callable[[FloatArray], dict[str, FloatArray]]) -> RowStatistics:
    """Statistics of scores that depend on the rows only through sums over them.

    Args:
        sums: (N, K), an array or one of scipy.sparse.
        scores: (R, K) sums over the rows of each resample -> score name -> (R,) values.
    """

    def resampled(weights: FloatArray) -> dict[str, FloatArray]:
        return scores(np.asarray(weights @ sums))

    return RowStatistics(sums.shape[0], resampled)


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

    bounds = {name: pair for each in statistics for name, pair in each.bounds.items()}
    return RowStatistics(statistics[0].rows, resampled, bounds)


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

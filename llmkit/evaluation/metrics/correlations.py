"""Correlations of resampled rows, as in `regression.py`.

Legend: N rows, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmkit.evaluation.uncertainty.statistics import FloatArray, RowStatistics, of_sums, ratio

_CONSTANT = 1e-13
"""A variance of this share of the mean square is the rounding error of a constant."""


def pearson_statistics(predictions: Sequence[float], references: Sequence[float]) -> RowStatistics:
    """Of `pearson`, from sums of the standardised numbers, their squares and their products."""
    x, y = _standardised(predictions), _standardised(references)
    table = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)  # (N, 6)

    def scores(sums: FloatArray) -> dict[str, FloatArray]:
        x, y, xx, yy, xy = sums.T[1:] / sums[:, 0]
        covariance = xy - x * y
        spread = _variance(xx, x) * _variance(yy, y)
        return {"pearson": np.clip(ratio(covariance, np.sqrt(spread), otherwise=np.nan), -1, 1)}

    return of_sums(table, scores)


def spearman_statistics(predictions: Sequence[float], references: Sequence[float]) -> RowStatistics:
    """Of `spearman`: the rows of each resample are ranked again, and equal numbers share their mean rank."""
    sides = [
        np.unique(np.asarray(side, dtype=np.float64), return_inverse=True)[1] for side in (predictions, references)
    ]

    def resampled(weights: FloatArray) -> dict[str, FloatArray]:
        columns = np.ascontiguousarray(weights.T)  # (N, R)
        # The mean rank is (rows + 1) / 2 whatever the ties: ranks around it need no means.
        middle = (columns.sum(axis=0) + 1) / 2
        x, y = (_ranks(columns, groups) - middle for groups in sides)  # (N, R)
        xx, yy, xy = (np.einsum("nr,nr,nr->r", columns, *pair) for pair in ((x, x), (y, y), (x, y)))
        return {"spearman": np.clip(ratio(xy, np.sqrt(xx * yy), otherwise=np.nan), -1, 1)}

    return RowStatistics(len(references), resampled)


def _ranks(weights: FloatArray, groups: NDArray[np.int64]) -> FloatArray:
    """(N, R) the mean rank of each row among those of the resample.

    Args:
        weights: (N, R)
        groups: (N,) the position of each row's number among the different ones.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sizes = np.add.reduceat(weights[order], starts, axis=0)  # rows of the resample with each number
    ends = np.cumsum(sizes, axis=0)
    ranks: FloatArray = (ends - (sizes - 1) / 2)[groups]
    return ranks


def _standardised(numbers: Sequence[float]) -> FloatArray:
    values = np.asarray(numbers, dtype=np.float64)
    values = values / np.abs(values).max()  # squares cannot overflow
    values = values - values.mean()
    spread: FloatArray = values / np.sqrt(np.mean(values**2))
    return spread


def _variance(mean_square: FloatArray, mean: FloatArray) -> FloatArray:
    variance = mean_square - mean * mean
    return np.where(variance > _CONSTANT * mean_square, variance, 0.0)

"""Metrics of one number per row; texts that are numbers, as in prediction files, are accepted too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from llmkit.errors import DataError
from llmkit.evaluation.metrics.undefined import undefined
from llmkit.tasks.base import Scores


def mse(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """The mean of the squared differences."""
    from llmkit.evaluation.uncertainty.statistics import of_means

    pairs = zip(_numbers(predictions, "prediction"), _numbers(references, "reference"), strict=True)
    squares = [(prediction - reference) * (prediction - reference) for prediction, reference in pairs]
    return Scores({"mse": sum(squares) / len(squares)}, statistics=of_means({"mse": squares}))


def pearson(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """Linear correlation."""
    return _correlation("pearson", predictions, references)


def spearman(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """Correlation of ranks; equal numbers share their mean rank."""
    return _correlation("spearman", predictions, references)


def _correlation(name: Literal["pearson", "spearman"], predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    import numpy as np
    from scipy.stats import rankdata

    from llmkit.evaluation.metrics.correlations import pearson_statistics, spearman_statistics

    sides = [_numbers(predictions, "prediction"), _numbers(references, "reference")]
    for side, side_name in zip(sides, ("predictions", "references"), strict=True):
        if max(side) == min(side):
            return undefined(name, f"all {side_name} are {side[0]:g}")
    statistics = (pearson_statistics if name == "pearson" else spearman_statistics)(*sides)
    if name == "spearman":
        sides = [rankdata(side).tolist() for side in sides]
    table = np.array(sides)
    table /= np.abs(table).max(axis=1, keepdims=True)  # correlations do not change, and squares cannot overflow
    return Scores({name: float(np.corrcoef(table)[0, 1])}, statistics=statistics)


def _numbers(values: Sequence[Any], side: str) -> list[float]:
    numbers = []
    for row, value in enumerate(values, start=1):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"row {row:,}: the {side} is {value!r:.40}, which is not a number.")
        numbers.append(number)
    return numbers

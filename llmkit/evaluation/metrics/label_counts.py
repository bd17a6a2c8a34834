"""Scores of labels from counts of each row, for resamples of the rows. As in `classification.py` and `multilabel.py`.

Legend: N rows, R resamples, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never  # in typing from Python 3.11

from llmkit.evaluation.uncertainty.statistics import FloatArray, RowStatistics, of_sums
from llmkit.evaluation.uncertainty.statistics import ratio as ratio_of

Ratio = Literal["precision", "recall", "f1"]


def accuracy_statistics(correct: Sequence[bool], references: Sequence[str]) -> RowStatistics:
    """Of `accuracy` and `majority_share`."""
    from scipy.sparse import csr_array, hstack

    is_correct = csr_array(np.asarray(correct, dtype=np.float64)[:, None])
    codes = {label: code for code, label in enumerate(dict.fromkeys(references))}
    counts = hstack([is_correct, _one_hot(references, codes)], format="csr")  # (N, 1 + C)

    def scores(sums: FloatArray) -> dict[str, FloatArray]:
        rows_with = sums[:, 1:]  # (R, C)
        rows = rows_with.sum(axis=1)
        return {"accuracy": sums[:, 0] / rows, "majority_share": rows_with.max(axis=1) / rows}

    return of_sums(counts, scores)


def ratio_statistics(ratio: Ratio, predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    """Of `{ratio}_micro` and `{ratio}_macro` where each row has one label."""
    codes = {label: code for code, label in enumerate(dict.fromkeys([*predictions, *references]))}
    predicted, expected = _one_hot(predictions, codes), _one_hot(references, codes)
    return _of_tables(ratio, predicted, expected)


def set_ratio_statistics(
    ratio: Ratio, predictions: Sequence[AbstractSet[str]], references: Sequence[AbstractSet[str]]
) -> RowStatistics:
    """Of `{ratio}_micro` and `{ratio}_macro` where each row has any number of labels."""
    labels = dict.fromkeys(label for side in (references, predictions) for row in side for label in row)
    codes = {label: code for code, label in enumerate(labels)}
    return _of_tables(ratio, _table(predictions, codes), _table(references, codes))


def mcc_statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    """Of `mcc`, from the numbers of correct rows, and of predictions and references with each label."""
    from scipy.sparse import csr_array, hstack

    codes = {label: code for code, label in enumerate(dict.fromkeys([*predictions, *references]))}
    correct = [prediction == reference for prediction, reference in zip(predictions, references, strict=True)]
    counts = hstack(
        [
            csr_array(np.asarray(correct, dtype=np.float64)[:, None]),
            _one_hot(predictions, codes),
            _one_hot(references, codes),
        ],
        format="csr",
    )  # (N, 1 + 2 C)

    def scores(sums: FloatArray) -> dict[str, FloatArray]:
        right, predicted, expected = sums[:, 0], sums[:, 1 : 1 + len(codes)], sums[:, 1 + len(codes) :]
        rows = expected.sum(axis=1)
        covariance = right * rows - (predicted * expected).sum(axis=1)
        spread = (rows**2 - (predicted**2).sum(axis=1)) * (rows**2 - (expected**2).sum(axis=1))
        return {"mcc": ratio_of(covariance, np.sqrt(np.maximum(spread, 0)), otherwise=np.nan)}

    return of_sums(counts, scores)


def average_precision_statistics(
    probabilities: Mapping[str, Sequence[float]], references: Sequence[AbstractSet[str]]
) -> RowStatistics:
    """Of `map`.

    Args:
        probabilities: label -> (N,) its probability in each row.
    """
    tables = [
        _Ranking.of(np.asarray(values), np.array([label in row for row in references]))
        for label, values in probabilities.items()
    ]

    def resampled(weights: FloatArray) -> dict[str, FloatArray]:
        columns = np.ascontiguousarray(weights.T)  # (N, R)
        precisions = np.stack([table.average_precision(columns) for table in tables])  # (C, R)
        labels = np.count_nonzero(~np.isnan(precisions), axis=0).astype(np.float64)
        return {"map": ratio_of(np.nansum(precisions, axis=0), labels, otherwise=np.nan)}

    return RowStatistics(len(references), resampled)


class _Ranking(NamedTuple):
    """The rows by the probability of a label, the highest first; rows of equal probability have one threshold.

    Legend: P rows that have the label.
    """

    order: NDArray[np.int64]
    positives: NDArray[np.int64]
    """(P,) their places in this order."""
    ends: NDArray[np.int64]
    """(P,) the place of the last row of their threshold."""
    last_positives: NDArray[np.int64]
    """(P,) which of the P is the last one of their threshold."""

    @classmethod
    def of(cls, probabilities: FloatArray, has_label: NDArray[np.bool_]) -> _Ranking:
        order = np.argsort(-probabilities, kind="stable")
        ordered = probabilities[order]
        positives = np.flatnonzero(has_label[order])
        ends = np.searchsorted(-ordered, -ordered[positives], side="right") - 1
        return cls(order, positives, ends, np.searchsorted(positives, ends, side="right") - 1)

    def average_precision(self, weights: FloatArray) -> FloatArray:
        """(R,) the mean precision at the thresholds of the rows that have the label; NaN if there are none.

        Args:
            weights: (N, R)
        """
        ordered = weights[self.order]
        positive = ordered[self.positives]  # (P, R)
        predicted = np.cumsum(ordered, axis=0)[self.ends]
        right = np.cumsum(positive, axis=0)[self.last_positives]
        precision = ratio_of(right, predicted)
        return ratio_of((positive * precision).sum(axis=0), positive.sum(axis=0), otherwise=np.nan)


def _of_tables(ratio: Ratio, predicted: Any, expected: Any) -> RowStatistics:
    """
    Args:
        predicted: (N, C) sparse, 1 where a label was predicted.
        expected: (N, C) sparse, 1 where a row has a label.
    """
    from scipy.sparse import hstack

    labels = predicted.shape[1]
    counts = hstack([predicted, expected, predicted.multiply(expected)], format="csr")  # (N, 3 C)

    def scores(sums: FloatArray) -> dict[str, FloatArray]:
        said, true, right = (sums[:, start : start + labels] for start in (0, labels, 2 * labels))
        occurring = np.count_nonzero(said + true, axis=1).astype(np.float64)
        of_each = _ratio(ratio, said, true, right).sum(axis=1)
        of_all = _ratio(ratio, *(side.sum(axis=1) for side in (said, true, right)))
        return {
            f"{ratio}_micro": np.where(occurring > 0, of_all, np.nan),
            f"{ratio}_macro": ratio_of(of_each, occurring, otherwise=np.nan),
        }

    return of_sums(counts, scores)


def _ratio(ratio: Ratio, said: FloatArray, true: FloatArray, right: FloatArray) -> FloatArray:
    """Precision, recall or F1 from the numbers of predicted, true and correctly predicted labels."""
    match ratio:
        case "precision":
            return ratio_of(right, said)
        case "recall":
            return ratio_of(right, true)
        case "f1":
            return ratio_of(2 * right, said + true)
        case _:
            assert_never(ratio)


def _one_hot(labels: Sequence[str], codes: Mapping[str, int]) -> Any:
    """(N, C) sparse, 1 in the column of each row's label."""
    return _table([{label} for label in labels], codes)


def _table(rows: Sequence[AbstractSet[str]], codes: Mapping[str, int]) -> Any:
    """(N, C) sparse, 1 in the columns of each row's labels."""
    from scipy.sparse import csr_array

    columns = [codes[label] for row in rows for label in row]
    ends = np.cumsum([0, *map(len, rows)])
    return csr_array((np.ones(len(columns)), columns, ends), shape=(len(rows), len(codes)))

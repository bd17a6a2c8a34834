"""How well probabilities say how often labels are right, and the accuracy of a classifier that may abstain.

A prediction is a `PredictedLabel`, or `{"labels": [...], "probabilities": {label: ...}}` where a row may have many labels.

Legend: R rows, N items whose probability is right or wrong: the label of each row, or each label of each row; B bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmkit.errors import DataError
from llmkit.evaluation.metrics.undefined import undefined
from llmkit.evaluation.uncertainty.statistics import FloatArray, of_means, of_sums, ratio
from llmkit.tasks.base import Scores
from llmkit.tasks.predicted_label import PredictedLabel

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BINS = 15
LEAST_ITEMS_OF_BIN = 10


@dataclass(frozen=True)
class _Items:
    """What is predicted with a probability."""

    confidences: NDArray[np.float64]
    """(N,)"""
    correct: NDArray[np.bool_]
    """(N,)"""
    per_row: int
    """Items of each row, in its order."""


def ece(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`ece`, the expected calibration error: the mean over bins of |accuracy - mean probability|, weighted by their items.

    The bins have equal numbers of items, sorted by probability (equal mass); equal probabilities stay together.

    Returns:
        Details `reliability`: the table of bins, and `ece_if_calibrated`, the value that probabilities without any error
        would have on average, since the accuracy of few rows is off by chance.
    """
    items = _items("ece", predictions, references)
    bins = _bins_of(items.confidences)
    gaps = _gaps(items, bins)
    noise = np.sqrt(np.bincount(bins, items.confidences * (1 - items.confidences)) * 2 / np.pi)
    statistics = of_sums(gaps, _ece_of_gaps)
    table = {
        "unit": "rows" if items.per_row == 1 else "labels of rows",
        "bins": _table(items, bins),
        "ece_if_calibrated": float(noise.sum() / len(items.correct)),
    }
    value = float(_ece_of_gaps(gaps.sum(axis=0, keepdims=True))["ece"][0])
    return Scores({"ece": value}, {"reliability": table}, statistics)


def brier(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`brier`, the squared distance of the probabilities from 1 for the labels of a row and 0 for all others.

    Summed over the labels of a row, so from 0 to 2 (Brier 1950); where a row may have many labels, the mean over them.
    """
    shares, targets = _shares_and_targets("brier", predictions, references)  # (R, C)
    squares = (shares - targets) ** 2
    by_row = squares.mean(axis=1) if _have_label_sets(predictions) else squares.sum(axis=1)
    return Scores({"brier": float(by_row.mean())}, statistics=of_means({"brier": by_row}))


def nll(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`nll`, the negative log-likelihood in nats: of the label of a row; where a row may have many labels, the mean over
    them. Infinite where a reference has the probability 0."""
    shares, targets = _shares_and_targets("nll", predictions, references)  # (R, C)
    right = np.where(targets, shares, 1 - shares)
    if not _have_label_sets(predictions):
        right = (shares * targets).sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        nats = -np.log(right).mean(axis=1)  # (R,)
    statistics = of_means({"nll": nats}) if np.isfinite(nats).all() else None
    return Scores({"nll": float(nats.mean())}, statistics=statistics)


def selective(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`coverage`, the share of rows from which the model does not abstain, and `selective_accuracy`, the accuracy of them."""
    answered = _answered(predictions)
    correct = np.array([found == reference for found, reference in zip(predictions, references, strict=True)])
    coverage = {"coverage": float(answered.mean())}
    if not answered.any():
        none = undefined("selective_accuracy", "the model abstains from all rows")
        return Scores({**coverage, **none.values}, none.details)
    table = np.stack([answered, answered & correct, np.ones_like(answered)], axis=1).astype(np.float64)  # (R, 3)
    scores = {**coverage, "selective_accuracy": float(correct[answered].mean())}
    return Scores(scores, statistics=of_sums(table, _selective_scores))


def _selective_scores(sums: FloatArray) -> dict[str, FloatArray]:
    """Of (resamples, 3) sums."""
    accuracy = ratio(sums[:, 1], sums[:, 0], otherwise=np.nan)
    return {"coverage": sums[:, 0] / sums[:, 2], "selective_accuracy": accuracy}


def _ece_of_gaps(sums: FloatArray) -> dict[str, FloatArray]:
    """Of (resamples, B + 1) sums."""
    return {"ece": np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]}


def _bins_of(confidences: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) the bin of each item, from 0: at most 15 of about equal size, each of 10 items or more."""
    count = max(1, min(MOST_BINS, len(confidences) // LEAST_ITEMS_OF_BIN))
    ranked = np.sort(confidences)
    starts = ranked[[len(ranked) * index // count for index in range(1, count)]]
    bins: NDArray[np.int64] = np.searchsorted(np.unique(starts), confidences, side="right")
    return np.unique(bins, return_inverse=True)[1]  # without empty ones


def _gaps(items: _Items, bins: NDArray[np.int64]) -> FloatArray:
    """(R, B + 1) for each row, by bin, its right items less their probabilities; at the end, the number of its items."""
    rows = np.arange(len(bins)) // items.per_row
    sums = np.zeros((len(bins) // items.per_row, int(bins.max()) + 2))
    np.add.at(sums, (rows, bins), items.correct - items.confidences)
    sums[:, -1] = items.per_row
    return sums


def _table(items: _Items, bins: NDArray[np.int64]) -> list[dict[str, float]]:
    table = []
    for index in range(int(bins.max()) + 1):
        inside = bins == index
        confidences = items.confidences[inside]
        table.append(
            {
                "low": float(confidences.min()),
                "high": float(confidences.max()),
                "confidence": float(confidences.mean()),
                "accuracy": float(items.correct[inside].mean()),
                "rows": int(inside.sum()),
            }
        )
    return table


def _items(metric: str, predictions: Sequence[Any], references: Sequence[Any]) -> _Items:
    shares, targets = _shares_and_targets(metric, predictions, references)  # (R, C)
    if _have_label_sets(predictions):
        return _Items(shares.ravel(), targets.ravel(), per_row=shares.shape[1])
    correct = np.array([found == reference for found, reference in zip(predictions, references, strict=True)])
    confidences = np.array([prediction.confidence for prediction in predictions])
    return _Items(confidences, correct, per_row=1)


def _shares_and_targets(
    metric: str, predictions: Sequence[Any], references: Sequence[Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(R, C) the probability of each label, and whether the row has it.

    Raises:
        DataError: predictions without probabilities, or with those of different labels.
    """
    if _have_label_sets(predictions) != isinstance(references[0], list):
        raise DataError(f"{metric}: one label per row, or a list of labels, in predictions and references alike.")
    rows = [_probabilities(metric, prediction) for prediction in predictions]
    names = list(rows[0])
    number = next((number for number, row in enumerate(rows, 1) if row.keys() != rows[0].keys()), None)
    if number is not None:
        raise DataError(f"{metric}: row {number:,} has probabilities of other labels than row 1.")
    sets = [{reference} if isinstance(reference, str) else set(reference) for reference in references]
    targets = np.array([[name in labels for name in names] for labels in sets])
    return np.array([[row[name] for name in names] for row in rows], dtype=np.float64), targets


def _probabilities(metric: str, prediction: Any) -> Mapping[str, float]:
    """By label."""
    if isinstance(prediction, PredictedLabel):
        return prediction.probabilities
    if isinstance(prediction, Mapping) and "probabilities" in prediction:
        probabilities: Mapping[str, float] = prediction["probabilities"]
        return probabilities
    raise DataError(f"{metric}: needs the probability of each label, which these predictions do not have.")


def _have_label_sets(predictions: Sequence[Any]) -> bool:
    return isinstance(predictions[0], Mapping)


def _answered(predictions: Sequence[Any]) -> NDArray[np.bool_]:
    """(R,) whether the model gives a label.

    Raises:
        DataError: predictions that do not say.
    """
    abstained = [prediction.abstained if isinstance(prediction, PredictedLabel) else None for prediction in predictions]
    if None in abstained:
        raise DataError(
            "selective: needs predictions of a model that may abstain. Train it with abstain: in its recipe, or classify "
            "with --abstain-below."
        )
    return ~np.array(abstained, dtype=bool)

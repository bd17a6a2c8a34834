"""Probabilities of the choices of questions, and their temperature. Numbers in, numbers out: knows no models.

Questions may have different numbers of choices. In arrays, a choice that a question does not have has the probability 0.

Legend: R questions, C choices of the question with the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from llmkit.tasks.classification.calibration import fit_temperature_of_logits
from llmkit.tasks.predicted_label import PredictedLabel

_TINY = 1e-300


def choice_shares(scores: NDArray[np.float64], temperature: float | None) -> NDArray[np.float64]:
    """The probabilities of the choices of one question, from their scores."""
    shares: NDArray[np.float64] = softmax(scores / (temperature or 1.0))
    return shares


def predicted_choices(rows: Sequence[NDArray[np.float64]]) -> list[PredictedLabel]:
    """The index of the most probable choice of each question, as text, with the probabilities of all.

    Args:
        rows: the probabilities of each question's choices.
    """
    table = _table(rows)
    names = tuple(map(str, range(table.shape[1])))
    return [PredictedLabel(names[int(row.argmax())], names, row) for row in table]


def fit_choice_temperature(predictions: Sequence[Any], references: Sequence[str]) -> float | None:
    """The temperature with the least negative log-likelihood; None where all predictions are right.

    Args:
        predictions: at temperature 1.
        references: the index of the right choice of each question, as text.
    """
    shares = _table([prediction.shares for prediction in predictions])  # (R, C)
    targets = np.eye(shares.shape[1], dtype=bool)[[int(reference) for reference in references]]
    logits = _logits(np.where(targets, np.maximum(shares, _TINY), shares))
    return fit_temperature_of_logits(logits, targets, "single_label_classification")


def calibrated_choices(predictions: Sequence[Any], temperature: float | None) -> list[PredictedLabel]:
    """The predictions at this temperature; their choices stay the same."""
    shares = _table([prediction.shares for prediction in predictions])
    return predicted_choices(list(shares if temperature is None else softmax(_logits(shares) / temperature, axis=1)))


def _table(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(R, C)"""
    table = np.zeros((len(rows), max(map(len, rows), default=1)))
    for row, shares in zip(table, rows, strict=True):
        row[: len(shares)] = shares
    return table


def _logits(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, C), -inf where a question does not have the choice."""
    with np.errstate(divide="ignore"):
        return np.log(shares)

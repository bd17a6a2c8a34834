"""How well probabilities say how often labels are right; computed in `calibration_sums.py`, which needs numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmkit.tasks.base import Scores


def ece(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`ece`, the expected calibration error, and details `reliability`."""
    from llmkit.evaluation.metrics import calibration_sums

    return calibration_sums.ece(predictions, references)


def brier(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`brier`, the squared distance of the probabilities from the truth."""
    from llmkit.evaluation.metrics import calibration_sums

    return calibration_sums.brier(predictions, references)


def nll(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`nll`, the negative log-likelihood in nats."""
    from llmkit.evaluation.metrics import calibration_sums

    return calibration_sums.nll(predictions, references)


def selective(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`coverage` and `selective_accuracy` of a classifier that may abstain."""
    from llmkit.evaluation.metrics import calibration_sums

    return calibration_sums.selective(predictions, references)

"""The temperature of a classifier's probabilities, and the probability below which it abstains.

Both are chosen on the validation rows. Numbers in, numbers out: knows no models.

Legend: R rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from llmkit.tasks.classification.problem_types import ProblemType
from llmkit.tasks.classification.scores import logits_of, nats_of

_TEMPERATURES = (0.01, 100.0)
_SHARES = 20
"""Candidates for the share of rows that are answered: 5 %, 10 % and so on to 100 %."""
CONFIDENCE = 0.95
"""That the accuracy of the answered rows is at least the target, if new rows are like the validation rows."""
_LEVEL = 1 - (1 - CONFIDENCE) / _SHARES
"""Of each candidate, so that `CONFIDENCE` is that of all together (Bonferroni)."""


def fit_temperature(scores: NDArray[np.float64], targets: NDArray[np.bool_], problem_type: ProblemType) -> float | None:
    """The temperature with the least negative log-likelihood (Guo et al. 2017).

    Args:
        scores: (R, C) probabilities at temperature 1.
        targets: (R, C) whether the row has the label.
    Returns:
        None where no label is wrong: the lower the temperature, the less the loss, and no number is the best.
    """
    return fit_temperature_of_logits(logits_of(scores, problem_type), targets, problem_type)


def fit_temperature_of_logits(
    logits: NDArray[np.float64], targets: NDArray[np.bool_], problem_type: ProblemType
) -> float | None:
    """As `fit_temperature`, of (R, C) logits; of one label, they may be -inf where a row does not have the class."""
    if not _any_wrong(logits, targets, problem_type):
        return None

    def nats(log_temperature: float) -> float:
        return nats_of(logits / math.exp(log_temperature), targets, problem_type)

    best = minimize_scalar(nats, bounds=tuple(map(math.log, _TEMPERATURES)), method="bounded", options={"xatol": 1e-6})
    return math.exp(float(best.x))


def _any_wrong(logits: NDArray[np.float64], targets: NDArray[np.bool_], problem_type: ProblemType) -> bool:
    """Whether any label has the wrong side: another one is more probable, or with many labels, of a half."""
    if problem_type == "multi_label_classification":
        return bool((np.where(targets, -logits, logits) > 0).any())
    own = np.where(targets, logits, -np.inf).max(axis=1)  # (R,)
    return bool((logits.max(axis=1) > own).any())


def fit_abstention(confidences: NDArray[np.float64], correct: NDArray[np.bool_], *, accuracy: float) -> float | None:
    """The lowest limit such that rows at or above it have at least this accuracy, with 95 % confidence.

    The candidates answer 5 %, 10 % and so on to all of the rows. The bound is that of Clopper and Pearson (1934), one-sided,
    at a level that holds for all candidates together (Bonferroni): the best of many would else be chosen by luck.

    Args:
        confidences: (R,) probability of each row's label.
        correct: (R,) whether the label is right.
    Returns:
        Half way between two probabilities that occur, so that rounding moves no row across it; 0 where all rows are
        answered; None where no candidate reaches the accuracy.
    """
    limits = (limit for limit, bound in _candidates(confidences, correct) if bound >= accuracy)
    return next(limits, None)


def highest_accuracy(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> float:
    """The highest accuracy for which `fit_abstention` finds a limit."""
    return max(bound for _, bound in _candidates(confidences, correct))


def _candidates(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> Iterator[tuple[float, float]]:
    """Limits, the lowest first, each with the lower bound of the accuracy of the rows at or above it."""
    order = np.argsort(-confidences, kind="stable")
    ranked, right = confidences[order], np.cumsum(correct[order])
    rows = len(ranked)
    for share in range(_SHARES, 0, -1):
        answered = math.ceil(rows * share / _SHARES)
        answered = int(np.searchsorted(-ranked, -ranked[answered - 1], side="right"))  # equal rows are answered alike
        limit = 0.0 if answered == rows else float(ranked[answered - 1] + ranked[answered]) / 2
        yield limit, lower_bound(int(right[answered - 1]), answered, confidence=_LEVEL)


def accuracy_interval(correct: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share by Clopper and Pearson (1934), two-sided."""
    from scipy.stats import binomtest

    interval = binomtest(correct, rows).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def lower_bound(correct: int, rows: int, *, confidence: float) -> float:
    """The lower bound of a share by Clopper and Pearson (1934), one-sided."""
    from scipy.stats import binomtest

    interval = binomtest(correct, rows, alternative="greater").proportion_ci(confidence, method="exact")
    return float(interval.low)

"""What a classifier answers: one label, many labels, or a number. From logits to predictions, for measuring and for use.

Legend: N sequences (texts or windows of them), R rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from typing_extensions import assert_never

from llmkit.tasks.classification.problem_types import Answer

DEFAULT_THRESHOLD = 0.5
"""Of many labels, until the validation rows have shown a better one."""


def scores_of(logits: NDArray[np.float32], answer: Answer) -> NDArray[np.float64]:
    """(N, C) probabilities: adding up to 1 for one label, each for itself for many; a number stays as it is."""
    scores: NDArray[np.float64] = logits.astype(np.float64)
    match answer:
        case "label":
            scores = softmax(scores, axis=1)
        case "labels":
            scores = expit(scores)
        case "number":
            pass
        case _:
            assert_never(answer)
    return scores


def scores_of_rows(
    scores: NDArray[np.float64], lengths: Sequence[int], windows: Sequence[range]
) -> NDArray[np.float64]:
    """(R, C) the mean over a row's windows, weighted by their tokens.

    Args:
        scores: (N, C)
        lengths: (N,) tokens of each window.
        windows: the windows of each row.
    """
    if len(windows) == len(scores):
        return scores
    weights = np.asarray(lengths, dtype=np.float64)[:, None]  # (N, 1)
    starts = [one.start for one in windows]
    total: NDArray[np.float64] = np.add.reduceat(scores * weights, starts) / np.add.reduceat(weights, starts)
    return total


def predictions_of(
    scores: NDArray[np.float64], answer: Answer, *, labels: Sequence[str], threshold: float | None
) -> list[Any]:
    """A prediction for each row of (R, C) scores: a name; names with all probabilities; a number."""
    match answer:
        case "label":
            return [labels[index] for index in scores.argmax(axis=1)]
        case "labels":
            limit = DEFAULT_THRESHOLD if threshold is None else threshold
            each = (dict(zip(labels, row, strict=True)) for row in scores.tolist())
            return [{"labels": chosen(by_label, limit), "probabilities": by_label} for by_label in each]
        case "number":
            return [float(value) for value in scores[:, 0]]
        case _:
            assert_never(answer)


def chosen(probabilities: Mapping[str, float], threshold: float) -> list[str]:
    """The labels that are likely enough, in the model's order."""
    return [label for label, probability in probabilities.items() if probability >= threshold]


def best_threshold(probabilities: Sequence[float], wanted: Sequence[bool]) -> tuple[float, float] | None:
    """The threshold with the largest micro F1 over all rows and labels, and that F1; None where nothing is wanted.

    It lies half way between two probabilities that occur, so that rounding moves no label across it. Of several
    equally good ones, the nearest to a half.
    """
    from sklearn.metrics import precision_recall_curve

    if not any(wanted):
        return None
    precision, recall, rising = precision_recall_curve(wanted, probabilities)  # one more of both, for no label at all
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    middles = (rising + np.append(0.0, rising[:-1])) / 2
    f1 = np.where(middles > 0, f1[:-1], -1.0)  # a threshold of 0 tells nothing apart
    best = f1 >= f1.max() * (1 - 1e-12)
    threshold = float(min(middles[best].tolist()[::-1], key=lambda middle: abs(middle - DEFAULT_THRESHOLD)))
    return threshold, float(f1.max())


def flattened(
    predictions: Iterable[Mapping[str, Any]], references: Iterable[Sequence[str]]
) -> tuple[list[float], list[bool]]:
    """Every probability of every row, and whether that label is right."""
    probabilities: list[float] = []
    wanted: list[bool] = []
    for prediction, reference in zip(predictions, references, strict=True):
        right = set(reference)
        for label, probability in prediction["probabilities"].items():
            probabilities.append(probability)
            wanted.append(label in right)
    return probabilities, wanted

"""From logits to predictions: one label, many labels, or a number. For evaluation and inference.

Legend: N sequences (texts or windows of them), R rows, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logit, softmax
from typing_extensions import assert_never

from llmkit.tasks.classification.problem_types import ProblemType
from llmkit.tasks.classification.thresholds import DEFAULT_THRESHOLD, Threshold, labels_above
from llmkit.tasks.predicted_label import PredictedLabel

_TINY, _EPSILON = 1e-300, 2.0**-53
"""The least probability whose logarithm is taken, for one label of many, and for each of many labels."""


def scores_of(logits: NDArray[np.float32], problem_type: ProblemType) -> NDArray[np.float64]:
    """(N, C) probabilities: a softmax for one label, a sigmoid each for many; a number is unchanged."""
    scores: NDArray[np.float64] = logits.astype(np.float64)
    match problem_type:
        case "single_label_classification":
            scores = softmax(scores, axis=1)
        case "multi_label_classification":
            scores = expit(scores)
        case "regression":
            pass
        case _:
            assert_never(problem_type)
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
    starts = [window.start for window in windows]
    mean: NDArray[np.float64] = np.add.reduceat(scores * weights, starts) / np.add.reduceat(weights, starts)
    return mean


def logits_of(scores: NDArray[np.float64], problem_type: ProblemType) -> NDArray[np.float64]:
    """(R, C) logits that have these probabilities; finite."""
    if problem_type == "multi_label_classification":
        logits: NDArray[np.float64] = logit(np.clip(scores, _EPSILON, 1 - _EPSILON))
    else:
        logits = np.log(np.maximum(scores, _TINY))
    return logits


def calibrated(
    scores: NDArray[np.float64], problem_type: ProblemType, temperature: float | None
) -> NDArray[np.float64]:
    """(R, C) the probabilities at this temperature; as they are for None.

    That of a row, not of each of its windows: then the most probable label is the same at every temperature.
    """
    if temperature is None:
        return scores
    logits = logits_of(scores, problem_type) / temperature
    rescaled: NDArray[np.float64] = (
        expit(logits) if problem_type == "multi_label_classification" else softmax(logits, axis=1)
    )
    return rescaled


def nats_of(logits: NDArray[np.float64], targets: NDArray[np.bool_], problem_type: ProblemType) -> float:
    """Negative log-likelihood in nats: the mean over rows, or with many labels over rows and labels.

    Args:
        logits: (R, C)
        targets: (R, C) whether the row has the label.
    """
    if problem_type == "multi_label_classification":
        return float(np.logaddexp(0, np.where(targets, -logits, logits)).mean())
    return float(-log_softmax(logits, axis=1)[targets].mean())


def predictions_of(
    scores: NDArray[np.float64],
    problem_type: ProblemType,
    *,
    labels: Sequence[str],
    threshold: Threshold | None,
    abstain_below: float | None = None,
) -> list[Any]:
    """A prediction for each row of (R, C) scores: a label, or labels, with all probabilities; a number.

    Args:
        abstain_below: the probability of a row's label below which the model abstains; None if it never does.
    """
    match problem_type:
        case "single_label_classification":
            return [
                PredictedLabel(
                    labels[index],
                    labels,
                    row,
                    abstained=None if abstain_below is None else bool(row[index] < abstain_below),
                )
                for index, row in zip(scores.argmax(axis=1).tolist(), scores, strict=True)
            ]
        case "multi_label_classification":
            limit = DEFAULT_THRESHOLD if threshold is None else threshold
            by_row = (dict(zip(labels, row, strict=True)) for row in scores.tolist())
            return [{"labels": labels_above(by_label, limit), "probabilities": by_label} for by_label in by_row]
        case "regression":
            return [float(value) for value in scores[:, 0]]
        case _:
            assert_never(problem_type)


def shares_of(predictions: Sequence[Any]) -> NDArray[np.float64]:
    """(R, C) the probabilities in predictions of labels."""
    rows = [row.shares if isinstance(row, PredictedLabel) else [*row["probabilities"].values()] for row in predictions]
    return np.array(rows, dtype=np.float64)


def best_threshold(probabilities: Sequence[float], targets: Sequence[bool]) -> tuple[float, float] | None:
    """The threshold with the largest micro F1 over all rows and labels, and that F1; None where no target is true.

    It is half way between two probabilities that occur, so that rounding moves no label across it. Of several
    equally good ones, the nearest to a half.
    """
    from sklearn.metrics import precision_recall_curve

    if not any(targets):
        return None
    # Precision and recall have one more entry, for no label at all.
    precision, recall, thresholds = precision_recall_curve(targets, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    middles = (thresholds + np.append(0.0, thresholds[:-1])) / 2
    f1 = np.where(middles > 0, f1[:-1], -1.0)  # a threshold of 0 predicts every label
    best = f1 >= f1.max() * (1 - 1e-12)
    threshold = float(min(middles[best].tolist()[::-1], key=lambda middle: abs(middle - DEFAULT_THRESHOLD)))
    return threshold, float(f1.max())


def flatten_predictions(
    predictions: Iterable[Mapping[str, Any]], references: Iterable[Sequence[str]]
) -> tuple[list[float], list[bool]]:
    """Every probability of every row, and whether the row has that label."""
    probabilities: list[float] = []
    targets: list[bool] = []
    for prediction, reference in zip(predictions, references, strict=True):
        reference_labels = set(reference)
        for label, probability in prediction["probabilities"].items():
            probabilities.append(probability)
            targets.append(label in reference_labels)
    return probabilities, targets


def best_thresholds(predictions: Sequence[Mapping[str, Any]], references: Sequence[Sequence[str]]) -> Threshold | None:
    """For each label the threshold with the largest F1 of this label, by `best_threshold`; for labels that no row
    has, the one of all labels. None where no row has a label."""
    shared = best_threshold(*flatten_predictions(predictions, references))
    if shared is None:
        return None
    sets = [set(reference) for reference in references]
    thresholds = {}
    for label in predictions[0]["probabilities"]:
        probabilities = [prediction["probabilities"][label] for prediction in predictions]
        best = best_threshold(probabilities, [label in labels for labels in sets])
        thresholds[label] = (best or shared)[0]
    return thresholds

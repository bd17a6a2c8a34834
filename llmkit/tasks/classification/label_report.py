"""Statistics of the labels or numbers of the rows, logged before training; an error where there is nothing to learn.

Pure functions of the references of rows, which are label names.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmkit.errors import DataError
from llmkit.models.scale import mean_and_deviation
from llmkit.tasks.classification.problem_types import ProblemType

logger = logging.getLogger("llmkit")
_SHOWN = 10
_UNEVEN = 10
"""The ratio of the most frequent label to the rarest from which a warning is logged."""


def report_references(
    train: Sequence[Any], validation: Sequence[Any], *, problem_type: ProblemType, labels: Sequence[str], weighted: bool
) -> None:
    """Log how often each label occurs, and warn of what will be learnt or evaluated badly.

    Args:
        train: references of the training rows.
        labels: the labels of the model.
        weighted: the loss already has class weights.
    Raises:
        DataError: all training rows have the same label or number.
    """
    if len({_key(reference) for reference in train}) == 1:
        raise DataError(f"all {len(train):,} training rows have the same answer, {train[0]!r}: nothing to learn.")
    if problem_type == "regression":
        _report_numbers(train)
        return
    counts = label_counts(train, labels)
    ranked = sorted(labels, key=lambda label: -counts[label])
    most_frequent, rarest = ranked[0], next(label for label in reversed(ranked) if counts[label])
    ratio = counts[most_frequent] / counts[rarest]
    without = sum(not reference for reference in train)
    none = f"; {without:,} rows have none" if without else ""
    logger.info("labels: %s of %s rows; %.1f to 1%s", _listed(counts, ranked), f"{len(train):,}", ratio, none)
    if ratio > _UNEVEN and not weighted:
        advice = "; class_weights: auto would even them out"
        logger.warning(
            "labels are uneven: %s are %r and %s are %r%s",
            *(f"{counts[most_frequent]:,} rows", most_frequent, f"{counts[rarest]:,}", rarest, advice),
        )
    warn_of_missing(labels, counts, label_counts(validation, labels))


def label_counts(references: Sequence[Any], labels: Sequence[str]) -> dict[str, int]:
    """Label -> rows that have it, 0 included."""
    counts = Counter(
        label for reference in references for label in ([reference] if isinstance(reference, str) else reference)
    )
    return {label: counts[label] for label in labels}


def even_weights(references: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """N / (C x count) for each label that occurs: all labels have the same total weight, and a row 1 on average."""
    from sklearn.utils.class_weight import compute_class_weight

    rows = np.array(references, dtype=object)
    present = np.array([label for label in labels if label in set(references)], dtype=object)
    weights = compute_class_weight("balanced", classes=present, y=rows)
    return dict(zip(present.tolist(), weights.tolist(), strict=True))


def warn_of_missing(labels: Sequence[str], train: Mapping[str, int], validation: Mapping[str, int]) -> None:
    """Warn of labels that no training row has, and of those that no validation row has."""
    empty = [label for label in labels if not train[label]]
    if empty:
        logger.warning(
            "labels without a training row, which cannot be learned: %s. Add rows, or name the labels to learn under "
            "labels: in the recipe",
            _named(empty),
        )
    missing = {label: train[label] for label in labels if train[label] and not validation[label]}
    if missing:
        logger.warning("labels without a validation row, which no metric measures: %s", _listed(missing, list(missing)))


def _report_numbers(values: Sequence[float]) -> None:
    mean, deviation = mean_and_deviation(values)
    logger.info(
        "numbers of %s rows: from %g to %g, mean %.4g, standard deviation %.4g",
        *(f"{len(values):,}", min(values), max(values), mean, deviation),
    )


def _key(reference: Any) -> Any:
    return tuple(reference) if isinstance(reference, list) else reference


def _listed(counts: Mapping[str, int], labels: Sequence[str]) -> str:
    shown = ", ".join(f"{label!r} {counts[label]:,}" for label in labels[:_SHOWN])
    return shown + _rest(labels)


def _named(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:_SHOWN])) + _rest(labels)


def _rest(labels: Sequence[str]) -> str:
    return f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""

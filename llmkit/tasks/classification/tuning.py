"""What a classifier chooses on its validation rows: temperature, thresholds, and when it abstains, in this order.

Legend: R rows, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmkit.tasks.classification.calibration import CONFIDENCE, fit_abstention, fit_temperature
from llmkit.tasks.classification.recipe import ClassificationRecipe
from llmkit.tasks.classification.scores import best_threshold, best_thresholds, calibrated, flatten_predictions
from llmkit.tasks.classification.thresholds import Threshold

logger = logging.getLogger("llmkit")


def tune_on_validation(
    recipe: ClassificationRecipe,
    scores: NDArray[np.float64],
    references: Sequence[Any],
    *,
    labels: Sequence[str],
) -> dict[str, Any]:
    """The keys of the model's saved config that the recipe asks for, where the rows allow a choice.

    Args:
        scores: (R, C) probabilities at temperature 1.
        references: (R,) the label, or the labels, of each row.
    """
    changes: dict[str, Any] = {}
    if recipe.calibrate is not None:
        changes["temperature"] = _temperature(recipe, scores, references, labels=labels)
        scores = calibrated(scores, recipe.problem_type, changes["temperature"])
    if recipe.abstain is not None:
        changes["abstain_below"] = _abstain_limit(scores, references, labels=labels, accuracy=recipe.abstain.accuracy)
    if recipe.problem_type == "multi_label_classification":
        threshold = _threshold(recipe, scores, references, labels=labels)
        return changes if threshold is None else {**changes, "threshold": threshold}
    return changes


def _temperature(
    recipe: ClassificationRecipe, scores: NDArray[np.float64], references: Sequence[Any], *, labels: Sequence[str]
) -> float | None:
    sets = [{reference} if isinstance(reference, str) else set(reference) for reference in references]
    targets = np.array([[label in row for label in labels] for row in sets])  # (R, C)
    temperature = fit_temperature(scores, targets, recipe.problem_type)
    if temperature is None:
        warn_of_no_temperature(len(references))
    return temperature


def warn_of_no_temperature(rows: int) -> None:
    logger.warning(
        "calibrate: all predictions on the %s validation rows are right, which fits no temperature; the probabilities stay as "
        "they are. Use more validation rows",
        f"{rows:,}",
    )


def _abstain_limit(
    scores: NDArray[np.float64], references: Sequence[Any], *, labels: Sequence[str], accuracy: float
) -> float | None:
    chosen = scores.argmax(axis=1).tolist()
    correct = np.array([labels[index] == reference for index, reference in zip(chosen, references, strict=True)])
    limit = fit_abstention(scores.max(axis=1), correct, accuracy=accuracy)
    if limit is None:
        logger.warning(
            "abstain: at no probability are the %s validation rows enough for accuracy %g with %g %% confidence; the model "
            "would abstain from every row",
            *(f"{len(references):,}", accuracy, 100 * CONFIDENCE),
        )
    return limit


def _threshold(
    recipe: ClassificationRecipe, scores: NDArray[np.float64], references: Sequence[Any], *, labels: Sequence[str]
) -> Threshold | None:
    """None where no row has a label."""
    predictions = [{"probabilities": dict(zip(labels, row, strict=True))} for row in scores.tolist()]
    if recipe.threshold == "per-label":
        return best_thresholds(predictions, references)
    best = best_threshold(*flatten_predictions(predictions, references))
    return None if best is None else best[0]

"""Check the metrics of a recipe or of a command before any model library is loaded."""

from __future__ import annotations

from collections.abc import Iterable

from llmkit.errors import UsageError
from llmkit.evaluation.metrics import METRICS, score_names_of
from llmkit.recipe.recipe import Recipe


def check_metrics(recipe: Recipe) -> None:
    """Check that the evaluation has the score `evaluation.best` and that it has a direction, before hours of training.

    Raises:
        UsageError: it does not; the message lists the scores.
    """
    if recipe.evaluation.metrics and not recipe.default_metrics:
        raise UsageError(f"evaluation.metrics: {recipe.task} has no predictions to measure, only its loss. Remove it.")
    names = recipe.metrics
    check_metrics_fit(recipe, names, key="evaluation.metrics")
    reported = [*_of_the_model(score_names_of(names)), *recipe.loss_scores]
    if recipe.best not in reported:
        raise UsageError(
            f"evaluation.best: {recipe.best!r} is not among the scores of this evaluation: {', '.join(reported)}."
        )


def check_metrics_fit(recipe: Recipe, names: Iterable[str], *, key: str) -> None:
    """Check that metrics apply to the predictions; a correlation of labels does not.

    Args:
        key: the recipe key or option of the names, for the message.
    Raises:
        UsageError: a metric does not apply; the message lists those that do.
    """
    allowed = recipe.fitting_metrics
    unsuited = [name for name in names if name in METRICS and allowed is not None and name not in allowed]
    if unsuited:
        raise UsageError(
            f"{key}: {unsuited[0]} does not apply to the predictions of this recipe; use {', '.join(allowed or ())}."
        )


def _of_the_model(scores: Iterable[str]) -> list[str]:
    """The scores without the shares of the most frequent label and tag, which do not depend on the model."""
    return [metric for metric in scores if metric not in ("majority_share", "majority_tag_share")]

"""`evaluate --baseline`: the training rows of the baselines, and the comparison with them. Imports scikit-learn."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.errors import UsageError
from llmkit.evaluation.baselines import judged_by_loss
from llmkit.evaluation.comparison import compare_loss, compare_predictions, needs_training_rows
from llmkit.evaluation.measure import Measured
from llmkit.evaluation.metrics import RougeTokenizer
from llmkit.evaluation.verdict import Comparison
from llmkit.runs.folder import Run
from llmkit.tasks.base import Task, TaskRecipe
from llmkit.training.resume import check_sources
from llmkit.training.row_checks import check_sources_with_labels
from llmkit.training.splits import open_splits

logger = logging.getLogger("llmkit")


def baseline_rows(recipe: TaskRecipe, run: Run | None, *, labels: Sequence[str] | None) -> Iterable[Row]:
    """The run's training rows, or nothing where no baseline of the task learns.

    Args:
        labels: names of the model's classes.
    Raises:
        UsageError: there is no run to take them from.
        DataError: they have changed since.
    """
    if not needs_training_rows(recipe):
        return ()
    if run is None:
        raise UsageError(
            f"--baseline: the baselines of {recipe.task} are trained on a run's training rows, and this model is "
            "not a run. Give the run's folder."
        )
    splits = open_splits(recipe, run=run)
    check_sources_with_labels(recipe, splits, labels=labels)
    train = splits["train"]
    check_sources(run, {"train": train.source.fingerprint()})
    return train


def compare_with_baselines(
    task: Task,
    measured: Measured,
    *,
    train: Iterable[Row],
    rows: Iterable[Row],
    examples: Examples,
    metrics: Sequence[str],
    rouge_tokenizer: RougeTokenizer,
) -> Comparison | None:
    """The comparison of the model with its task's baselines; None, with a warning, where there is none."""
    if judged_by_loss(task.recipe):
        return compare_loss(task, measured, train=task.encode(train), examples=examples)
    comparison = compare_predictions(
        task,
        measured.scores,
        train=train,
        rows=list(rows),
        examples=examples,
        metrics=metrics,
        rouge_tokenizer=rouge_tokenizer,
    )
    if comparison is None:
        logger.warning("--baseline: %s has none for these rows and metrics", task.recipe.task)
    return comparison

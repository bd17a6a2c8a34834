"""The probability below which the classifier of a run abstains, chosen for an accuracy on the run's validation rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.api.compared_rows import rows_file, run_rows
from llmkit.errors import DataError, RunError, UsageError
from llmkit.evaluation.uncertainty.interval import Interval
from llmkit.runs.folder import Run, open_run
from llmkit.tasks.predicted_label import PredictedLabel

logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class AbstainLimit:
    """A limit, and what it does on the validation rows."""

    below: float
    """The probability below which a text gets no label; 0 labels every text."""
    rows: int
    answered: int
    """Rows that get a label."""
    accuracy: float
    """Share of right labels among the rows that get one."""
    interval: Interval
    """Of the accuracy, 95 %, by Clopper and Pearson (1934)."""

    @property
    def coverage(self) -> float:
        """Share of rows that get a label."""
        return self.answered / self.rows


def check_abstain_accuracy(accuracy: object) -> None:
    """
    Raises:
        UsageError: not a number between 0 and 1.
    """
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float) or not 0 < accuracy < 1:
        raise UsageError(f"abstain_accuracy: {accuracy!r} is not a number between 0 and 1, such as 0.95.")


def choose_abstain_limit(model: str, labels: Sequence[str], *, accuracy: float) -> AbstainLimit:
    """The lowest limit whose labels have at least this accuracy with 95 % confidence, as `abstain` in a recipe.

    Args:
        model: the folder of a run, or of its model.
        labels: of the model.
    Raises:
        UsageError: an accuracy that is not between 0 and 1, a model that is no run, or no limit reaches the accuracy.
        RunError: the run has no predictions on its validation rows, or they are damaged.
    """
    import numpy as np

    from llmkit.tasks.classification.calibration import accuracy_interval, fit_abstention, highest_accuracy

    check_abstain_accuracy(accuracy)
    run = _run_of(model)
    predictions, references = _validation_rows(run, labels)
    confidences = np.array([prediction.confidence for prediction in predictions])
    correct = np.array([label == reference for label, reference in zip(predictions, references, strict=True)])
    below = fit_abstention(confidences, correct, accuracy=accuracy)
    if below is None:
        highest = math.floor(1000 * highest_accuracy(confidences, correct)) / 1000
        raise UsageError(
            f"abstain_accuracy {accuracy:g}: no limit reaches it with 95 % confidence on the {len(correct):,} validation rows "
            f"of {run.folder}; the highest that one reaches is {highest:g}. Give that or less, train with more validation "
            "rows, or give a limit with abstain_below."
        )
    answered = confidences >= below
    count, right = int(answered.sum()), int(correct[answered].sum())
    limit = AbstainLimit(below, len(correct), count, right / count, Interval(*accuracy_interval(right, count)))
    logger.info(
        "abstain below %.4g: of the %s validation rows of %s, %.1f %% get a label, with accuracy %.4f [%.4f, %.4f]",
        *(below, f"{limit.rows:,}", run.folder, 100 * limit.coverage, limit.accuracy, *limit.interval),
    )
    return limit


def _run_of(model: str) -> Run:
    path = Path(model)
    folder = path.parent if path.name == "model" and not (path / "run.json").exists() else path
    if not (folder / "run.json").exists():
        raise UsageError(
            f"abstain_accuracy: {model} is not a run, so it has no validation rows to choose a limit on. Give the limit "
            "itself with abstain_below."
        )
    return open_run(folder)


def _validation_rows(run: Run, labels: Sequence[str]) -> tuple[list[PredictedLabel], list[str]]:
    """The predictions with their probabilities, and the right labels."""
    if rows_file(run, "validation") is None:
        raise RunError(
            f"{run.folder} has no predictions on its validation rows, to choose a limit on. Training writes them, in "
            "evaluation/validation.predictions.jsonl: train it again, or give the limit itself with abstain_below."
        )
    try:
        rows = run_rows(run, split="validation", metrics=["accuracy"])
    except DataError as error:
        raise RunError(f"{error} Train the run again, or give the limit itself with abstain_below.") from error
    predictions, references = rows.values.get("accuracy", ((), ()))
    for number, (prediction, reference) in enumerate(zip(predictions, references, strict=True), 1):
        known = isinstance(prediction, PredictedLabel) and set(prediction.names) == set(labels)
        if not known or not isinstance(reference, str):
            raise RunError(
                f"{run.folder}/evaluation/validation.predictions.jsonl:{number}: no label with the probabilities of "
                f"{', '.join(labels[:5])}{' and so on' if len(labels) > 5 else ''}. It is damaged, or of another model: "
                "train the run again, or give the limit itself with abstain_below."
            )
    return list(predictions), list(references)

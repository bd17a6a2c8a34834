"""The validation rows of a training, in the run's `evaluation/`: scores and predictions of the best evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmkit.api.evaluation_result import Evaluation, delete_evaluation, row_facts, save_evaluation
from llmkit.api.reporting import finish_evaluation, refresh_report
from llmkit.errors import MachineError, RunError
from llmkit.evaluation.uncertainty.bootstrap import count_clusters
from llmkit.runs.folder import Run
from llmkit.runs.saved_json import read_json
from llmkit.training.prepare import first_rows

if TYPE_CHECKING:
    from llmkit.data.examples import Examples
    from llmkit.evaluation.uncertainty.interval import Interval
    from llmkit.training.prepared import Prepared
    from llmkit.training.progress import Evaluated

logger = logging.getLogger("llmkit")
_NAME = "validation"


def save_validation(
    run: Run, event: Evaluated, *, examples: Examples, intervals: Mapping[str, Interval | None]
) -> None:
    """Write the evaluation as `llmkit evaluate` does, with its step. If the disk is full, a warning says so.

    Args:
        examples: of the validation rows.
        intervals: of the scores.
    """
    evaluation = Evaluation(
        str(run.folder),
        f"validation rows of {run.folder}",
        examples.rows,
        event.scores,
        event.measured.predictions,
        intervals=intervals,
        clusters=None if examples.clusters is None else count_clusters(examples.clusters),
        step=event.step,
    )
    facts = row_facts(examples, event.measured.losses)
    try:
        save_evaluation(run, evaluation, name=_NAME, references=examples.references, facts=facts)
    except (MachineError, OSError) as error:
        logger.warning("the predictions on the validation rows could not be saved (%s)", error)


def finish_validation(run: Run, prepared: Prepared, *, best_step: int) -> None:
    """Keep the inputs of the rows that the report shows, and write it. Deletes predictions of another checkpoint than
    the model's: that of a better evaluation may not have been saved."""
    step = _saved_step(run)
    if step == best_step:
        rows = first_rows(prepared.validation_rows, prepared.recipe)
        finish_evaluation(run, rows, name=_NAME, recipe=prepared.recipe)
        return
    if step is not None:
        delete_evaluation(run, _NAME)
    refresh_report(run)


def _saved_step(run: Run) -> int | None:
    """The step of the saved evaluation; None if there is none of a training."""
    try:
        step = read_json(run.folder / "evaluation" / f"{_NAME}.json").get("step")
    except RunError:
        return None
    return step if isinstance(step, int) else None

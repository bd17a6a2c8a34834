"""`report`: report.html of a run, or several runs side by side."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from llmkit.atomic import check_replaceable, replace_file
from llmkit.data.rows import Row
from llmkit.errors import UsageError
from llmkit.report.comparison import comparison_report
from llmkit.report.predictions import digest_predictions
from llmkit.report.reading import cut_texts, predictions_of, read_content, read_evaluation, shown_rows_of
from llmkit.report.run_report import run_report
from llmkit.report.shown_rows import shown_lines
from llmkit.runs.folder import Run, open_run
from llmkit.tasks.base import TaskRecipe

_READ_TYPES = frozenset({"text", "words", "messages"})
"""Types of the columns that a model reads."""

logger = logging.getLogger("llmkit")


def write_report(runs: str | Path | Sequence[str | Path], *, output: str | Path | None = None) -> Path:
    """Write everything that a run folder says as one HTML file, which opens offline; of several runs a comparison.

    Args:
        runs: the folder of a run, or several.
        output: the file; without it `report.html` in the run's folder, for several runs `comparison.html` here.
    Returns:
        The path of the file.
    Raises:
        UsageError: no run, or the same run twice.
        RunError: a folder is not a run, or its run.json is damaged.
        MachineError: the file cannot be written.
    """
    folders = [runs] if isinstance(runs, str | Path) else list(runs)
    if not folders:
        raise UsageError("give the folder of a run, such as runs/news-001.")
    opened = [open_run(folder) for folder in folders]
    if len({run.folder.resolve() for run in opened}) < len(opened):
        raise UsageError("the same run is given twice. Give each run once.")
    default = opened[0].folder / "report.html" if len(opened) == 1 else Path("comparison.html")
    path = check_replaceable(default if output is None else Path(output))
    contents = [read_content(run) for run in opened]
    html = run_report(contents[0]) if len(contents) == 1 else comparison_report(contents)
    replace_file(path, html.encode(errors="backslashreplace"), next_step="start again")
    return default if output is None else Path(output)


def refresh_report(run: Run) -> None:
    """Write report.html after a training or an evaluation. A failure is only logged, since it can be written later."""
    try:
        logger.info("report: %s", write_report(run.folder))
    except Exception as error:  # an error in the report must not fail the training
        logger.warning("report.html could not be written (%s). Try: llmkit report %s", error, run.folder)


def finish_evaluation(run: Run, rows: Iterable[Row], *, name: str, recipe: TaskRecipe) -> None:
    """Keep the inputs of the rows that the report shows, and write it again. A failure is only logged.

    Args:
        rows: those of the evaluation, in its order.
        name: of the evaluation's files.
    """
    try:
        _keep_shown_rows(run.folder / "evaluation" / f"{name}.json", rows, recipe=recipe)
    except Exception as error:
        logger.warning("the inputs of the rows in report.html could not be kept (%s)", error)
    refresh_report(run)


def _keep_shown_rows(path: Path, rows: Iterable[Row], *, recipe: TaskRecipe) -> None:
    predictions = predictions_of(path)
    if not predictions.is_file():
        return
    record = read_evaluation(path)
    digest = digest_predictions(predictions, kind=record.value_kind, cut=cut_texts(record))
    read_fields = [field for field, column_type in recipe.column_types.items() if column_type in _READ_TYPES]
    inputs = (
        (row.place, {field: row.fields[field] for field in read_fields if row.fields.get(field) is not None})
        for row in rows
    )
    content = shown_lines(inputs, digest.shown, expected_rows=digest.rows + digest.damaged_lines)
    if content is not None:
        replace_file(shown_rows_of(path), content)

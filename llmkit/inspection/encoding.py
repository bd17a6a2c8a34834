"""What training would say about the rows as it encodes them: lengths against the limits, unknown characters, answers
out of reach. Runs the task's own code, without weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmkit.errors import DataError, LlmkitError
from llmkit.inspection.findings import Finding

if TYPE_CHECKING:
    from llmkit.tasks.base import TaskRecipe
    from llmkit.training.splits import Split, SplitRows

_OWN_CHECKS = {"labels", "label_report", "splits", "rows"}
"""Modules whose messages other checks replace, with the rows."""


def encoded_rows(
    recipe: TaskRecipe, splits: Mapping[Split, SplitRows], *, labels: tuple[str, ...] | None
) -> Iterator[Finding]:
    """Encode all rows, and report what is logged."""
    from llmkit.planning.unweighted import unweighted_task

    with collected_log() as records:
        try:
            task = unweighted_task(recipe, splits["train"], labels=labels, characters=0).task
        except LlmkitError as error:
            message = f"lengths were not checked, since the tokenizer cannot be loaded: {error}"
            yield Finding("lengths", "warning", message.replace("\n", " "))
            return
    yield from _findings(records, split=None)
    for split, rows in splits.items():
        with collected_log() as records:
            fault = None
            try:
                task.encode(rows)
            except DataError as error:
                fault = str(error)
        yield from _findings(records, split=split)
        if fault is not None:
            yield Finding("encoding-error", "error", f"{split}: {fault}".replace("\n", " "))


@contextmanager
def collected_log() -> Iterator[list[logging.LogRecord]]:
    """Collect the messages of the package, which are not printed meanwhile."""
    records: list[logging.LogRecord] = []

    class Collected(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    log = logging.getLogger("llmkit")
    before = log.handlers, log.propagate, log.level
    log.handlers, log.propagate = [Collected()], False
    log.setLevel(logging.INFO)
    try:
        yield records
    finally:
        log.handlers, log.propagate = before[:2]
        log.setLevel(before[2])


def _findings(records: list[logging.LogRecord], *, split: str | None) -> Iterator[Finding]:
    for record in records:
        if record.module not in _OWN_CHECKS:
            message = record.getMessage()
            yield Finding(
                "lengths" if record.module == "lengths" else "tokens",
                "warning" if record.levelno >= logging.WARNING else "info",
                message if split is None else f"{split}: {message}",
            )

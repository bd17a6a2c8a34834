"""The first examples of a split, or those of one row, with what is logged about each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from llmkit.data.rows import Row
from llmkit.errors import DataError, UsageError
from llmkit.inspection.encoding import collected_log
from llmkit.inspection.shown import BatchReader, ShownExample

if TYPE_CHECKING:
    from llmkit.data.examples import Examples
    from llmkit.tasks.base import Task
    from llmkit.training.splits import SplitRows

_FIRST_DOCUMENTS = 100
_MOST_WINDOWS = 10
"""Of a row."""


def shown_blocks(task: Task, rows: SplitRows, *, first: int, count: int, epoch: int | None) -> list[ShownExample]:
    """Blocks of running text, which are those of the whole split: only as many documents are encoded as they need.

    Args:
        first: number of the first one, from 0.
        epoch: for what is hidden; None as in evaluation.
    Raises:
        UsageError: there is no such block.
    """
    examples, limit = None, _FIRST_DOCUMENTS
    while True:
        read = list(islice(rows, limit))
        try:
            examples = task.encode(read)
        except DataError:  # too little text for a block
            if len(read) < limit:
                raise
        is_all = len(read) < limit
        # The last block of a part of the text may be shorter than that of the whole.
        if is_all or (examples is not None and len(examples) > first + count):
            break
        limit *= 4
    assert examples is not None
    if first >= len(examples):
        raise UsageError(f"--row {first + 1}: the split has {len(examples):,} blocks.")
    numbers = range(first, min(first + count, len(examples)))
    batch = task.collate(examples, np.asarray(numbers), epoch=epoch)
    shown = BatchReader(task, batch).examples()
    return [ShownExample("", number + 1, *example) for number, example in zip(numbers, shown, strict=True)]


def shown_rows(task: Task, rows: SplitRows, *, first: int, count: int, epoch: int | None) -> list[ShownExample]:
    """All examples of some rows; one without sequences for a row that has none.

    Args:
        first: number of the first row, from 0.
        epoch: for what is drawn again in each epoch; None as in evaluation.
    Raises:
        UsageError: there is no such row.
    """
    chosen = list(islice(rows, first, first + count))
    if not chosen:
        raise UsageError(f"--row {first + 1}: the split has {sum(1 for _ in rows):,} rows.")
    notes = [_notes(task, row) for row in chosen]
    with collected_log():
        examples = _encoded(task, rows if _needs_other_rows(task) else chosen)
    if examples is None:
        return [
            ShownExample(row.place, first + index + 1, notes=note)
            for index, (row, note) in enumerate(zip(chosen, notes, strict=True))
        ]
    windows = _windows(examples, chosen)
    indices = [index for of_row in windows for index in of_row[:_MOST_WINDOWS]]
    shown = (
        BatchReader(task, task.collate(examples, np.asarray(indices), epoch=epoch)).examples() if indices else iter(())
    )
    result = []
    for index, (row, of_row, of_notes) in enumerate(zip(chosen, windows, notes, strict=True)):
        number = first + index + 1
        if not of_row:
            result.append(ShownExample(row.place, number, notes=(*of_notes, "the row is left out")))
        for window in range(min(len(of_row), _MOST_WINDOWS)):
            of_window = (f"window {window + 1} of {len(of_row):,}",) if len(of_row) > 1 else ()
            result.append(ShownExample(row.place, number, *next(shown), notes=(*of_window, *of_notes)))
    return result


def _needs_other_rows(task: Task) -> bool:
    """Whether an example has texts of other rows: the distractors of multiple choice."""
    return getattr(task.recipe, "distractors", None) is not None


def _encoded(task: Task, rows: Sequence[Row] | SplitRows) -> Examples | None:
    """None if a row is too long, and the recipe says that this is an error."""
    try:
        return task.encode(rows)
    except DataError:
        return None


def _windows(examples: Examples, rows: Sequence[Row]) -> list[Sequence[int]]:
    """The examples of each row."""
    places = (origin.place for origin in examples.origins)
    by_place: dict[str, Sequence[int]] = dict(zip(places, examples.examples_of(), strict=True))
    return [by_place.get(row.place, ()) for row in rows]


def _notes(task: Task, row: Row) -> tuple[str, ...]:
    """What is logged as a row is encoded alone: warnings, and errors."""
    if _needs_other_rows(task):
        return ()
    with collected_log() as records:
        try:
            task.encode([row])
        except DataError as error:
            return (str(error),)
    return tuple(_warnings(records))


def _warnings(records: Sequence[logging.LogRecord]) -> Iterator[str]:
    return (record.getMessage() for record in records if record.levelno >= logging.WARNING)

"""All rows of a recipe, checked before a tokenizer or a model is made from them; and those that are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from llmkit.data.bad_rows import BadRow, json_lines, reason_counts
from llmkit.data.rows import RowSource
from llmkit.errors import DataError
from llmkit.tasks.base import TaskRecipe
from llmkit.training.splits import Split, SplitRows


def check_rows(recipe: TaskRecipe, splits: Mapping[Split, SplitRows]) -> tuple[str, ...] | None:
    """Read all rows once.

    Returns:
        The names of the model's classes; None for a head without classes.
    Raises:
        DataError: rows that the task cannot use, all in one error, unless the recipe leaves them out; or there are no
            usable rows, or too few classes.
    """
    labels: tuple[str, ...] | None = None
    fault: DataError | None = None
    try:
        labels = recipe.class_names(splits["train"].whole().without_bad_rows())
    except DataError as error:  # bad rows may be the reason
        fault = error
    check_sources_with_labels(recipe, splits, labels=labels)
    faults = []
    for source in sources_of(splits).values():
        try:
            for _ in source:
                pass
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError("\n".join(faults))
    if fault is not None:
        raise fault
    return labels


def check_sources_with_labels(
    recipe: TaskRecipe, splits: Mapping[Split, SplitRows], *, labels: Sequence[str] | None
) -> None:
    """Take rows with other labels for bad ones from now on."""
    for source in sources_of(splits).values():
        source.check = partial(recipe.check_row, labels=labels)


def left_out(splits: Mapping[Split, SplitRows]) -> dict[str, Any]:
    """For data.json: split -> number of rows left out, and how many for each reason. A split that is a share of the
    training rows has no entry."""
    return {name: reason_counts([source.left_out]) for name, source in sources_of(splits).items()}


def bad_rows_file(splits: Mapping[Split, SplitRows]) -> bytes:
    """The rows left out, a JSON object in each line."""
    return b"".join(json_lines(_bad_rows(sources_of(splits).values())))


def _bad_rows(sources: Iterable[RowSource]) -> Iterable[BadRow]:
    for source in sources:
        if source.left_out:
            yield from source.bad_rows()


def sources_of(splits: Mapping[Split, SplitRows]) -> dict[Split, RowSource]:
    """Each source once, by its first split."""
    sources: dict[Split, RowSource] = {}
    for name, rows in splits.items():
        if not any(rows.source is source for source in sources.values()):
            sources[name] = rows.source
    return sources

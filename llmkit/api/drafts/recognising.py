"""Which task a table is for, by the layout of its rows and the names of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmkit.api.drafts.matching import match_task
from llmkit.data.profiles import TableProfile
from llmkit.errors import DataError, UsageError
from llmkit.tasks import PRETRAINING, RECIPES
from llmkit.tasks.columns import Ask, match_form, used
from llmkit.tasks.draft import Recognised, TaskDraft

_DRAFTS: Mapping[str, TaskDraft] = {task: RECIPES[task].DRAFT for task in reversed(tuple(RECIPES))}
"""In the order in which tasks are tried: classification, whose rows have the most general form, comes last."""


def recognise(table: TableProfile, *, ask: Ask | None) -> tuple[str, Recognised]:
    """The task that the table is for, and its columns.

    Raises:
        DataError: there is no text.
        UsageError: several fit, and nobody can be asked.
    """
    for task, draft in _DRAFTS.items():
        by_layout = draft.by_layout(table)
        if by_layout is not None:
            return task, by_layout
    named = _by_names(table)
    if len(named) == 1:
        return next(iter(named.items()))
    for task, draft in () if named else _DRAFTS.items():
        by_values = draft.by_values(table)
        if by_values is not None:
            return task, by_values
    tasks = list(named) or _possible(table)
    names = ", ".join(repr(column.name) for column in table.columns)
    if not tasks:
        raise DataError(
            f"{table.source}: no task fits the columns {names}: none of them has texts. Give rows with texts."
        )
    if ask is None:
        raise UsageError(
            f"{table.source}: the columns {names} do not decide the task. Name it: llmkit init TASK --data ..., such as "
            f"{' or '.join(tasks[:4])}."
        )
    task = ask(f"{table.source} has the columns {names}. Which task?", tasks)
    return task, named.get(task) or Recognised("you chose it", match_task(task, table, given={}, ask=ask))


def _by_names(table: TableProfile) -> dict[str, Recognised]:
    """Tasks for which all columns have usual names; of several with the same target, the first."""
    named: dict[str, Recognised] = {}
    targets: set[str] = set()
    for task, draft in _DRAFTS.items():
        recognised = draft.by_names(table)
        if recognised is None:
            continue
        columns = recognised.match.columns
        own = used({name: columns[name] for name in RECIPES[task].TARGET_FIELDS if name in columns})
        if not own & targets:
            named[task] = recognised
            targets |= own
    return named


def _possible(table: TableProfile) -> list[str]:
    """The tasks for which the table has columns of the right types, those that need no more than text last."""
    fitting = [
        task
        for task, recipe in RECIPES.items()
        if any(match_form(form, table, given={}, ask=_first) is not None for form in recipe.DRAFT.FORMS)
    ]
    return sorted(fitting, key=lambda task: task in PRETRAINING)


def _first(question: str, choices: Sequence[str]) -> str:
    return choices[0]

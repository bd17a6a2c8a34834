"""The columns of a table for a task that is known, by the task's forms of rows and what the user has named."""

from __future__ import annotations

from collections.abc import Sequence

from llmkit.data.profiles import TableProfile
from llmkit.errors import UsageError
from llmkit.tasks import RECIPES
from llmkit.tasks.columns import Ask, Columns, Match, match_form


def match_task(task: str, table: TableProfile, *, given: Columns, ask: Ask | None) -> Match:
    """The columns of a task.

    Args:
        given: columns that the user has named.
        ask: asks the user which of several columns it is.
    Raises:
        UsageError: the table lacks them, or several could be meant and nobody can be asked.
    """
    draft = RECIPES[task].DRAFT
    special = draft.match(table, given)
    if special is not None:
        return special
    described = {name for form in draft.FORMS for name in (*form.fields, *form.optional)}
    forms = [form for form in draft.FORMS if given.keys() & described <= {*form.fields, *form.optional}]
    for form in forms:
        found = match_form(form, table, given=given, ask=ask)
        if found is not None:
            return found
    needed = (" and ".join(f"'{name}'" for name in form.fields) for form in forms or draft.FORMS)
    names = ", ".join(repr(column.name) for column in table.columns) or "none"
    raise UsageError(
        f"{table.source}: no columns for {', or '.join(dict.fromkeys(needed))} of {task}; found {names}. Name them with "
        "--column FIELD=COLUMN, or choose another task."
    )


def given_columns(options: Sequence[str], *, task: str, table: TableProfile) -> Columns:
    """The columns of `--column FIELD=COLUMN`; a field that is given several times has them all.

    Raises:
        UsageError: another form, an unknown field or column.
    """
    recipe = RECIPES[task]
    fields = list(dict.fromkeys([*recipe.COLUMN_TYPES, *(name for form in recipe.DRAFT.FORMS for name in form.fields)]))
    names = [column.name for column in table.columns]
    columns: dict[str, list[str]] = {}
    for option in options:
        name, separator, column = option.partition("=")
        if not separator or name not in fields:
            raise UsageError(f"--column {option}: write FIELD=COLUMN, with one of the fields {', '.join(fields)}.")
        if column not in names:
            raise UsageError(
                f"--column {option}: {table.source} has no such column; found {', '.join(map(repr, names))}."
            )
        columns.setdefault(name, []).append(column)
    return {name: found[0] if len(found) == 1 else tuple(found) for name, found in columns.items()}

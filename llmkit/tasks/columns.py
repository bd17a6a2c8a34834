"""Which columns of a table are those of a task: by their names, else by their values. Never a guess between equals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from llmkit.data.suggestions import USUAL_NAMES
from llmkit.errors import UsageError
from llmkit.recipe.blocks import ColumnType

if TYPE_CHECKING:
    from llmkit.data.profiles import Column, TableProfile

Ask = Callable[[str, Sequence[str]], str]
"""(question, choices) -> one of the choices."""
Columns: TypeAlias = "Mapping[str, str | tuple[str, ...]]"
"""Field of a task -> its column, or a column for each label."""

_PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("text", "text_pair"))
"""Names of the two texts of a pair."""
_MOST_WORDS = 4
"""Of a name; more words are a text, in a file without a line of names."""
_TWICE = 2.0
"""A text is the longer one if it has this many times the characters of the next."""


@dataclass(frozen=True)
class Form:
    """One way in which rows of a task are written."""

    fields: Mapping[str, ColumnType]
    """Fields that each row has."""
    optional: tuple[str, ...] = ()
    """Texts that are used only under a usual name."""
    keys: Mapping[str, object] = field(default_factory=dict)
    """Keys that a recipe for such rows has."""
    in_order: bool = False
    """Whether what is written usually stands to the right of what is read, where names do not tell the two texts."""


@dataclass(frozen=True)
class Match:
    """Columns for all fields of a form."""

    columns: Columns
    keys: Mapping[str, object] = field(default_factory=dict)
    by_name: bool = True
    """Whether the names alone said so."""

    @property
    def listed(self) -> str:
        """The names of the columns, for messages."""
        return " and ".join(map(repr, self.columns.values()))


def suits(column: Column, field_name: str, kind: ColumnType) -> bool:
    """Whether a column can be a field of this type."""
    match kind:
        case "text":
            return column.is_text
        case "label":
            # The answer to a question is named by an index, a letter or its text, which may all differ.
            return column.is_label or (field_name == "answer" and "label" in column.types)
        case "number":
            return "number" in column.types
        case "answers":
            return bool(column.types & {"answers", "text", "words"})  # text may be a number; words: several answers
        case _:
            return kind in column.types


def match_form(form: Form, table: TableProfile, *, given: Columns, ask: Ask | None) -> Match | None:
    """The columns of a form; None if the table has none for some field.

    Args:
        given: columns that the user has named.
        ask: asks the user which of several columns it is.
    Raises:
        UsageError: several columns could be meant, and nobody can be asked.
    """
    columns: dict[str, str | tuple[str, ...]] = dict(given)
    missing = [name for name in form.fields if name not in columns]
    for name in missing:
        found = by_name(name, form.fields[name], free_columns(table, columns))
        if found is not None:
            columns[name] = found.name
    unnamed = [name for name in missing if name not in columns]
    choices = {name: _fitting(name, form.fields[name], free_columns(table, columns)) for name in unnamed}
    if not all(choices.values()):
        return None
    for name in unnamed:
        left = [column for column in choices[name] if column.name not in used(columns)]
        if not left:
            return None
        columns[name] = _by_value(name, form, left, table=table, ask=ask).name
    columns |= _optional(form, table, columns)
    return Match(columns, form.keys, by_name=not unnamed)


def unambiguous(form: Form, table: TableProfile) -> Match | None:
    """The columns of a form; None also where several columns could be meant."""
    try:
        return match_form(form, table, given={}, ask=None)
    except UsageError:
        return None


def used(columns: Columns) -> set[str]:
    """Names of the columns that are fields already."""
    return {name for value in columns.values() for name in ((value,) if isinstance(value, str) else value)}


def free_columns(table: TableProfile, columns: Columns) -> list[Column]:
    """The columns that are no field yet."""
    return [column for column in table.columns if column.name not in used(columns)]


def by_name(field_name: str, kind: ColumnType, columns: Sequence[Column]) -> Column | None:
    """The column of the field's own or another usual name; names of several words come last."""
    fitting = [column for column in columns if suits(column, field_name, kind) or _is_named_label(column, kind)]
    usual = (field_name, *USUAL_NAMES.get(field_name, ()))
    for matches in (_is_called, _has_word):
        for name in usual:
            found = next((column for column in fitting if matches(column, name)), None)
            if found is not None:
                return found
    return None


def pair_of(table: TableProfile) -> tuple[str, str] | None:
    """Two texts that are usually classified together, by their names."""
    for first, second in _PAIRS:
        found = [next((column for column in table.texts if _is_called(column, name)), None) for name in (first, second)]
        if found[0] is not None and found[1] is not None:
            return found[0].name, found[1].name
    return None


def _optional(form: Form, table: TableProfile, columns: Columns) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in form.optional:
        if name in columns:
            continue
        column = by_name(name, "text", free_columns(table, {**columns, **found}))
        if column is not None:
            found[name] = column.name
    return found


def _is_named_label(column: Column, kind: ColumnType) -> bool:
    """A column that is called a label may have as many labels as rows, in a small file, or only one."""
    return kind == "label" and column.could_be_label and not column.is_measured


def _is_called(column: Column, name: str) -> bool:
    return "".join(column.words) == name.replace("_", "") or column.name.casefold() == name


def _has_word(column: Column, name: str) -> bool:
    return name in column.words and len(column.words) <= _MOST_WORDS


def _fitting(field_name: str, kind: ColumnType, columns: Sequence[Column]) -> list[Column]:
    fitting = [column for column in columns if suits(column, field_name, kind)]
    return [column for column in fitting if not column.is_identifier] or fitting


def _by_value(name: str, form: Form, columns: Sequence[Column], *, table: TableProfile, ask: Ask | None) -> Column:
    """The only column that fits, or a text that is much longer than the others.

    Raises:
        UsageError: there are several, and nobody can be asked.
    """
    if len(columns) == 1:
        return columns[0]
    if form.fields[name] == "text" and form.in_order and len(columns) <= 2:
        return columns[0]
    longest = sorted(columns, key=lambda column: column.characters, reverse=True)
    if name in ("text", "context") and longest[0].characters >= _TWICE * longest[1].characters:
        return longest[0]
    names = [column.name for column in columns]
    if ask is None:
        raise UsageError(
            f"{table.source}: {' or '.join(map(repr, names))} could be the {name!r} of the task. Name it: "
            f"--column {name}=NAME"
        )
    answer = ask(f"Which column is the {name!r} of the task?", names)
    return next(column for column in columns if column.name == answer)

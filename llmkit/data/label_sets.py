"""Rows with any number of labels: a list of names, a 0 or 1 for each label, a text with a separator, or columns of 0 and 1.

A list such as `[1, 0, 1]` can only be read if the labels have names in a known order; else it is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.data import column_types
from llmkit.errors import DataError, RowError
from llmkit.recipe.blocks import ColumnType
from llmkit.recipe.recipe import LabelSets

_EXAMPLE = 'such as ["a", "b"]'
_WAY_OUT = (
    "Name the labels in the order of these values under labels: in the recipe, or write the names of each row's labels, "
    f"{_EXAMPLE}."
)


class LabelSetReader:
    """The labels of rows, one column at a time; `finish` checks what only all rows together can tell."""

    def __init__(self, label_sets: LabelSets) -> None:
        self._names = label_sets.names
        self._separator = label_sets.separator
        self._lengths: set[int] = set()
        """Lengths of the lists without names; 0 for a list that is no row of 0 and 1."""
        self._first_place = ""

    def read(self, value: object, *, column: str, place: str) -> list[str] | None:
        """The names of a row's labels; None if the value is not a list of labels.

        Raises:
            RowError: it has a 0 or 1 for each label, and the labels are unknown or of another number.
        """
        values = self._listed(value, column=column, place=place)
        if values is None:
            return None
        found = f"{column!r} is {_shown(values)}"
        names = column_types.labels(values)
        repeats = names is None or len(set(names)) < len(names)
        if not values or not all(column_types.flag(item) is not None for item in values):
            self._lengths.add(0)
            if values and repeats and all(column_types.number(item) is not None for item in values):
                raise _unclear(place, column, f"{found}. A list of numbers has a 0 or 1 for each label. {_WAY_OUT}")
            return names
        if self._names:
            return self._named(values, names, repeats=repeats, found=found, column=column, place=place)
        if repeats or any(isinstance(item, bool) for item in values):
            fault = f"{found}: a 0 or 1 for each label, but the labels have no names. {_WAY_OUT}"
            raise _unclear(place, column, fault)
        are_texts = all(isinstance(item, str) for item in values) and len(values) == 1
        self._lengths.add(0 if are_texts else len(values))
        self._first_place = self._first_place or f"{place}: {found}"
        return names

    def finish(self) -> None:
        """
        Raises:
            DataError: every row was a list of 0 and 1 of the same length.
        """
        if len(self._lengths) == 1 and 0 not in self._lengths:
            raise DataError(
                f"{self._first_place}, and every row has as many values, all 0 or 1: is that one for each label? "
                f"{_WAY_OUT}"
            )

    def _named(
        self, values: list[Any], names: list[str] | None, *, repeats: bool, found: str, column: str, place: str
    ) -> list[str]:
        if names is not None and not repeats and set(names) <= set(self._names):
            return names  # labels that are called 0 and 1
        if len(values) != len(self._names):
            listed = ", ".join(self._names[:10]) + (", ..." if len(self._names) > 10 else "")
            raise _unclear(
                place,
                column,
                f"{found}: {len(values):,} values for the {len(self._names):,} labels {listed}. Give each label a 0 or "
                f"1, or write the names of the row's labels, {_EXAMPLE}.",
            )
        if names is not None and set(names) <= set(self._names):
            fault = f"{found}: the labels are called 0 and 1 themselves, so this is unclear. {_WAY_OUT}"
            raise _unclear(place, column, fault)
        return [name for name, value in zip(self._names, values, strict=True) if column_types.flag(value)]

    def _listed(self, value: object, *, column: str, place: str) -> list[Any] | None:
        if not isinstance(value, str):
            return value if isinstance(value, list) else None
        text = value.strip()
        if self._separator is not None and not (text.startswith("[") and text.endswith("]")):
            return [part.strip() for part in value.split(self._separator) if part.strip()]
        parsed = column_types.parsed_list(text)
        if parsed is None:
            raise _unclear(
                place,
                column,
                f"{column!r} is {'text' if text else 'empty'}. It should be a list of labels, {_EXAMPLE}, in "
                "double quotes, or [] for none. If a character separates the labels, set label_separator in the recipe.",
            )
        return parsed


def split_columns(
    columns: Mapping[str, str | tuple[str, ...]], kinds: Mapping[str, ColumnType]
) -> tuple[dict[str, str], dict[str, ColumnType], dict[str, dict[str, str]]]:
    """Fields that have a column for each label, as a field for each of these columns.

    Returns:
        Field -> column, field -> type, and for each field with several columns: its new fields -> their columns.
    """
    several = {
        field: {f"{field}[{column}]": column for column in names}
        for field, names in columns.items()
        if isinstance(names, tuple)
    }
    column_of = {field: column for field, column in columns.items() if isinstance(column, str)}
    types = {field: kind for field, kind in kinds.items() if field not in several}
    for flags in several.values():
        column_of |= flags
        types |= dict.fromkeys(flags, "flag")
    return column_of, types, several


def names_of_columns(columns: Sequence[str], names: Sequence[str]) -> tuple[str, ...] | None:
    """The labels that columns of 0 and 1 stand for: those of the same names, else by position.

    Args:
        names: the labels in order, if they are known.
    Returns:
        None if only some columns are called as a label, or their number differs.
    """
    if not names or set(columns) <= set(names):
        return tuple(columns)
    return tuple(names) if len(columns) == len(names) and not set(columns) & set(names) else None


def _unclear(place: str, column: str, fault: str) -> RowError:
    return RowError(place, fault, reason=f"{column!r} that is not a list of labels")


def _shown(values: Sequence[Any]) -> str:
    listed = ", ".join(repr(value) for value in values[:6])
    return f"[{listed}{', ...' if len(values) > 6 else ''}]"

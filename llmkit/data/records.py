"""One record of a table as the fields of a row: finds the columns, and rejects values that are missing or not valid."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from llmkit.data.column_types import DESCRIPTIONS, READERS, ValueFault, shown, texts_in
from llmkit.data.label_sets import LabelSetReader, names_of_columns
from llmkit.data.readers import BadRecord
from llmkit.data.span_offsets import in_characters
from llmkit.data.tables import Table
from llmkit.errors import RowError
from llmkit.recipe.blocks import ColumnType, OffsetUnit
from llmkit.recipe.recipe import LabelSets

_NAMES_SHOWN = 10


class RecordReader:
    """The fields of the records of one table, in one pass."""

    def __init__(
        self,
        table: Table,
        names: Sequence[str],
        *,
        types: Mapping[str, ColumnType],
        column_of: Mapping[str, str],
        optional: Collection[str],
        constant: Collection[str],
        has: dict[str, bool],
        offsets: OffsetUnit,
        label_sets: LabelSets | None,
        flags: Mapping[str, Mapping[str, str]],
        null_is_empty: bool,
    ) -> None:
        """
        Args:
            names: the table's columns.
            types: field -> type of its values, for the fields to read.
            column_of: field -> name of its column.
            optional: fields that a record may lack.
            constant: those that all rows of all tables have, or none.
            has: constant field -> whether the first row has it; completed here.
            offsets: what the offsets of spans count.
            label_sets: how columns of any number of labels are written; without it, as lists of names.
            flags: field -> its fields of 0 and 1, and their columns.
            null_is_empty: read null as an empty text.
        """
        self._table = table
        self.types = types
        self._column_of = column_of
        self._optional = optional
        self._constant = constant
        self._has = has
        columns = [column_of[field] for field in types]
        self.columns = list(dict.fromkeys(_top(column, names) for column in columns if is_in(column, names)))
        self._label_types: dict[str, type] = {}
        self._offsets = offsets
        self._names = label_sets.names if label_sets is not None else ()
        self._label_sets = LabelSetReader(label_sets) if label_sets is not None else None
        self._flags = flags
        self._null_is_empty = null_is_empty
        self.converted_spans: Counter[str] = Counter()
        """Spans whose offsets count something else than characters, by what that is."""

    def fields(self, number: int, record: Mapping[str, object] | BadRecord) -> dict[str, Any]:
        """The values by field; optional fields only if the record has their column.

        Raises:
            RowError: the record cannot be read, lacks a column, or has a value that is not valid.
        """
        place = self._table.place(number)
        if isinstance(record, BadRecord):
            raise RowError(place, record.fault, reason=record.reason)
        fields = {}
        for field, column_type in self.types.items():
            column = self._column_of[field]
            if not is_in(column, record):
                if field in self._optional:
                    continue
                fault = f"no {column!r} here; found {listed(record)}. Every row needs it."
                raise RowError(place, fault, reason=f"no {column!r}")
            value = _value_at(column, record, place)
            if value is None and column_type == "text" and self._null_is_empty:
                value = ""
            fields[field] = self._parsed(value, column_type, column, place)
            kind = int if isinstance(value, float) else type(value)  # 1.0 is the label 1
            if column_type == "label" and self._label_types.setdefault(field, kind) is not kind:
                fault = (
                    f"{column!r} is {described(value)}; earlier rows have another type. Use one type for all labels."
                )
                raise RowError(place, fault, reason=f"another type of {column!r} than earlier rows")
        for field, column_type in self.types.items():
            if column_type == "spans" and isinstance(text := fields.get("text"), str):
                fields[field] = self._in_characters(text, fields[field], place)
        self._join_flags(fields)
        self._check_same_fields(fields, place)
        return fields

    def finish(self) -> None:
        """Check what only all rows together can tell.

        Raises:
            DataError: it is unclear what the lists of labels mean.
        """
        if self._label_sets is not None:
            self._label_sets.finish()

    def _parsed(self, value: object, column_type: ColumnType, column: str, place: str) -> Any:
        if self._label_sets is not None and column_type == "labels":
            return _checked(self._label_sets.read(value, column=column, place=place), value, column_type, column, place)
        try:
            parsed = READERS[column_type](value)
        except ValueFault as error:
            fault = f"{column!r}: {error}. It should be {DESCRIPTIONS[column_type]}."
            raise _wrong_type(place, fault, column_type, column) from error
        return _checked(parsed, value, column_type, column, place)

    def _join_flags(self, fields: dict[str, Any]) -> None:
        """Replace the columns of 0 and 1 by the names of the labels that the row has."""
        for field, flags in self._flags.items():
            names = names_of_columns(list(flags.values()), self._names) or flags.values()
            has_label = [fields.pop(flag) for flag in flags]
            fields[field] = [name for name, has in zip(names, has_label, strict=True) if has]

    def _in_characters(self, text: str, spans: list[dict[str, Any]], place: str) -> list[dict[str, Any]]:
        """Spans with offsets in characters; those that counted something else are counted."""
        read, unit = in_characters(text, spans, unit=self._offsets, place=place)
        if unit != "characters":
            self.converted_spans[unit] += len(read)
        return read

    def _check_same_fields(self, fields: Mapping[str, Any], place: str) -> None:
        for field in self._constant:
            if self._has.setdefault(field, field in fields) != (field in fields):
                has, before = ("has no", "have one") if self._has[field] else ("has a", "have none")
                fault = f"{has} {field}, and the rows before it {before}. Give all rows a {field}, or none."
                raise RowError(place, fault, reason=f"{has.removeprefix('has ')} {field}, unlike earlier rows")


def _top(column: str, names: Collection[str]) -> str:
    """The column that contains `translation.en`: `translation`, unless a column has exactly that name."""
    return column if column in names else column.partition(".")[0]


def is_in(column: str, names: Collection[str]) -> bool:
    """Whether the column exists, or a column whose objects may have it as a key."""
    return _top(column, names) in names


def _value_at(column: str, values: Mapping[str, object], place: str) -> object:
    """The value of a column, or of a key of the object in it: `translation.en`."""
    if column in values:
        return values[column]
    outer, _, key = column.partition(".")
    outer_value = values[outer]
    if not isinstance(outer_value, Mapping) or key not in outer_value:
        content = f"has {listed(outer_value)}" if isinstance(outer_value, Mapping) else f"is {described(outer_value)}"
        fault = f"no {column!r} here; {outer!r} {content}. Every row needs it."
        raise RowError(place, fault, reason=f"no {column!r}")
    inner_value: object = outer_value[key]
    return inner_value


def _wrong_type(place: str, fault: str, column_type: ColumnType, column: str) -> RowError:
    expected = DESCRIPTIONS[column_type].partition(",")[0]
    return RowError(place, fault, reason=f"{column!r} that is not {expected}")


def _checked(parsed: Any, value: object, column_type: ColumnType, column: str, place: str) -> Any:
    """The parsed value, or an error that describes the value."""
    if parsed is None:
        found = f"{column!r} is {described(value)}"
        if isinstance(value, list) or (isinstance(value, str) and value.strip()):
            found += f", {shown(value)}"
        raise _wrong_type(place, f"{found}. {_advice(value, column_type, column)}", column_type, column)
    for text in texts_in(parsed):
        if "\0" in text:
            fault = f"{column!r} contains a NUL character. Remove it."
            raise RowError(place, fault, reason=f"a NUL character in {column!r}")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            fault = f"{column!r} contains half of a surrogate pair, which is not a character. Remove it."
            raise RowError(place, fault, reason=f"half of a surrogate pair in {column!r}")
    return parsed


def described(value: object) -> str:
    """The type of a value in words, for messages."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text" if value.strip() else "empty"
    if isinstance(value, bool):
        return f"the boolean {json.dumps(value)}"
    if isinstance(value, int | float):
        return f"the number {value!r:.40}"
    if isinstance(value, Mapping):
        return f"an object with {listed(value)}"
    return f"a {type(value).__name__}"


def _advice(value: object, column_type: ColumnType, column: str) -> str:
    if isinstance(value, Mapping) and value and column_type in ("text", "label", "number"):
        return f"Name the key as well, such as {column}.{next(iter(value))}."
    if column_type in ("text", "label") and isinstance(value, int | float):
        return f'Write it as text: "{value!r:.40}".'
    if column_type in ("text", "label") or value is None:
        return "Fill it in or remove the row."
    if column_type == "words" and isinstance(value, list):
        odd = next((number for number, word in enumerate(value, 1) if not isinstance(word, str) or not word.strip()), 0)
        return f"It should be {DESCRIPTIONS[column_type]}; word {odd:,} is {value[odd - 1]!r:.40}."
    return f"It should be {DESCRIPTIONS[column_type]}."


def listed(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = ", ".join(f"{name!r:.60}" for name in list(names)[:_NAMES_SHOWN])
    return shown + (f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else "")

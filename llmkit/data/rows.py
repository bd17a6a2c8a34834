"""Rows: the input of a task. Reads the task's columns from records, rejects invalid values, and counts skipped rows.

Knows no files: records come from tables.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from llmkit.data.column_types import DESCRIPTIONS, READERS, texts_in
from llmkit.data.label_sets import LabelSetReader, names_of_columns, split_columns
from llmkit.data.span_offsets import in_characters
from llmkit.data.tables import Table
from llmkit.errors import DataError, nearest
from llmkit.recipe.blocks import ColumnType, OffsetUnit
from llmkit.recipe.recipe import LabelSets

MAPPED_IN_RECIPE = "Map it in the recipe: data.columns: {{{field}: {column}}}"
"""How a user maps a column to another name; a template."""
_NUMBERS_SHOWN = 10

logger = logging.getLogger("llmkit")


class Row(NamedTuple):
    fields: dict[str, Any]
    """Values by the task's field, such as `text` and `label`, of the types in `column_types.py`."""
    place: str
    """Where the row starts: `reviews.csv:7`, or an index from 0: `hub:owner/name[12]`, `builtin:python-docs[12]`."""


class RowSource:
    """The rows of several tables, in sequence. Can be iterated any number of times; rows are not kept in memory.

    A row with an empty text is skipped; one warning per table counts these, once. Iterating raises a DataError with
    the place where a value is missing, has another type or is not valid text, if a file has changed since it was
    opened, and at the end if there was no row.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        *,
        column_types: Mapping[str, ColumnType],
        columns: Mapping[str, str | tuple[str, ...]],
        max_rows: int | None,
        optional: Mapping[str, bool] = MappingProxyType({}),
        groups: Sequence[Sequence[str]] = (),
        keep_empty: bool = False,
        mapping: str = MAPPED_IN_RECIPE,
        origins: Mapping[str, str] = MappingProxyType({}),
        offsets: OffsetUnit = "auto",
        label_sets: LabelSets | None = None,
    ) -> None:
        """See `open_rows`. A column name may be a key inside another column: `translation.en`.

        Raises:
            DataError: columns are missing; one problem per line, for all tables.
        """
        self._tables = tables
        self._label_sets = label_sets
        column_of, self._column_types, self._flags = split_columns(columns, column_types)
        self._column_of = {field: column_of.get(field, field) for field in self._column_types}
        self._optional = {field for field in optional if field not in columns}
        self._may_be_blank = {field for field, blank_is_none in optional.items() if blank_is_none}
        all_groups = [tuple(group) for group in groups if set(group) <= column_types.keys()]
        mapped_groups = [group for group in all_groups if not columns.keys().isdisjoint(group)]
        self._groups = mapped_groups or all_groups
        self._grouped_fields = {field for group in all_groups for field in group}
        self._max_rows = max_rows
        self._keep_empty = keep_empty
        self._mapping = mapping
        self._origins = origins
        self._offsets = offsets
        self._converted_spans: Counter[str] = Counter()
        self._columns = [list(table.columns()) for table in tables]
        self._rows_used: list[int] | None = None
        self.skipped: dict[str, int] = {}
        """Rows skipped in the last iteration, by reason: `{"an empty text": 3}`."""
        named_tables = zip(tables, self._columns, strict=True)
        problems = [problem for table, names in named_tables if (problem := self._missing_columns(table, names))]
        if problems:
            raise DataError("\n".join(problems))

    def __iter__(self) -> Iterator[Row]:
        self.skipped = {}
        rows_used: list[int] = []
        records_read = 0
        for table, columns in zip(self._tables, self._columns, strict=True):
            skipped_rows: dict[str, list[int]] = {}
            self._converted_spans.clear()
            rows_used.append(0)
            for number, fields in self._fields_of(table, columns):
                records_read += 1
                empty = None if self._keep_empty else self._empty_text(fields)
                if empty is not None:
                    skipped_rows.setdefault(f"an empty {empty}", []).append(number)
                    continue
                rows_used[-1] += 1
                yield Row(fields, table.place(number))
                if sum(rows_used) == self._max_rows:
                    break
            self._report(table, skipped_rows, usable=rows_used[-1])
            if sum(rows_used) == self._max_rows:
                break
        if not any(rows_used):
            names = ", ".join(table.name for table in self._tables)
            raise DataError(f"{names}: no usable rows (0 of {records_read}). Give data with at least one filled row.")
        self._rows_used = rows_used + [0] * (len(self._tables) - len(rows_used))

    @cached_property
    def content(self) -> list[dict[str, Any]]:
        """An identifier of the tables' contents, without reading rows; a table raises an error if it changes later."""
        return [table.fingerprint() for table in self._tables]

    def fingerprint(self) -> list[dict[str, Any]]:
        """An identifier of each table; `rows` is the number of usable rows. Reads all rows again."""
        if self._rows_used is None:
            for _ in self:
                pass
        assert self._rows_used is not None
        tables = zip(self._tables, self._rows_used, self._columns, strict=True)
        return [{**table.fingerprint(), "rows": rows, "columns": columns} for table, rows, columns in tables]

    def _fields_of(self, table: Table, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and fields of each record; optional fields only if the record has their column."""
        used = {
            field: column_type
            for field, column_type in self._column_types.items()
            if field in self._optional or self._is_expected(field, names)
        }
        columns = [self._column_of[field] for field in used]
        read_columns = list(dict.fromkeys(_top(column, names) for column in columns if _is_in(column, names)))
        label_types: dict[str, type] = {}
        reader = LabelSetReader(self._label_sets) if self._label_sets is not None else None
        for number, values in table.records(read_columns):
            fields = {}
            for field, column_type in used.items():
                column = self._column_of[field]
                place = table.place(number)
                if not _is_in(column, values):
                    if field in self._optional:
                        continue
                    raise DataError(f"{place}: no {column!r} here; found {_listed(values)}. Every row needs it.")
                value = _value_at(column, values, place)
                if value is None and self._keep_empty and column_type == "text":
                    value = ""
                if reader is not None and column_type == "labels":
                    parsed = reader.read(value, column=column, place=place)
                else:
                    parsed = READERS[column_type](value)
                fields[field] = _checked(parsed, value, column_type, column, place)
                if column_type == "label" and label_types.setdefault(field, type(value)) is not type(value):
                    fault = f"{column!r} is {described(value)}; earlier rows have another type"
                    raise DataError(f"{place}: {fault}. Use one type for all labels.")
            for field, column_type in used.items():
                if column_type == "spans" and isinstance(text := fields.get("text"), str):
                    fields[field] = self._in_characters(text, fields[field], place)
            self._join_flags(fields)
            yield number, fields
        if reader is not None:
            reader.finish()

    def _join_flags(self, fields: dict[str, Any]) -> None:
        """Replace the columns of 0 and 1 by the names of the labels that the row has."""
        known = self._label_sets.names if self._label_sets is not None else ()
        for field, flags in self._flags.items():
            names = names_of_columns(list(flags.values()), known) or flags.values()
            has_label = [fields.pop(flag) for flag in flags]
            fields[field] = [name for name, has in zip(names, has_label, strict=True) if has]

    def _in_characters(self, text: str, spans: list[dict[str, Any]], place: str) -> list[dict[str, Any]]:
        """Spans with offsets in characters; those that counted something else are counted."""
        read, unit = in_characters(text, spans, unit=self._offsets, place=place)
        if unit != "characters":
            self._converted_spans[unit] += len(read)
        return read

    def _is_expected(self, field: str, names: Sequence[str]) -> bool:
        if field in self._grouped_fields:
            return field in next(iter(self._complete_groups(names)), ())
        return field not in self._optional or _is_in(self._column_of[field], names)

    def _complete_groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The groups of fields for which a table has all columns."""
        return [group for group in self._groups if all(_is_in(self._column_of[field], names) for field in group)]

    def _empty_text(self, fields: Mapping[str, Any]) -> str | None:
        """The first column with an empty text."""
        for field, value in fields.items():
            column_type = self._column_types.get(field)
            if field in self._may_be_blank:
                continue
            if (column_type == "text" and not value.strip()) or (column_type == "words" and not value):
                return field
        return None

    def _report(self, table: Table, skipped_rows: Mapping[str, Sequence[int]], *, usable: int) -> None:
        """Add to the counts, and warn about this table unless an earlier iteration has done so."""
        if not usable and self._rows_used is None:
            logger.warning("%s: no usable rows", table.name)
        for unit, count in self._converted_spans.items():
            if self._rows_used is None:
                logger.info("%s: the offsets of %s spans count %s, read as characters", table.name, f"{count:,}", unit)
        for reason, numbers in skipped_rows.items():
            self.skipped[reason] = self.skipped.get(reason, 0) + len(numbers)
            if self._rows_used is None:
                rows = "row" if len(numbers) == 1 else "rows"
                shown = f"{table.unit}{'' if len(numbers) == 1 else 's'} {_numbers(numbers)}"
                logger.warning("%s: skipped %d %s with %s (%s)", table.name, len(numbers), rows, reason, shown)

    def _missing_columns(self, table: Table, names: Sequence[str]) -> str | None:
        """The problem with the columns of a table, and how to map them; a table without columns has no rows either."""
        if names and self._groups and len(self._complete_groups(names)) != 1:
            return f"{table.name}: {self._group_fault(names)}"
        missing = [
            field
            for field, column in self._column_of.items()
            if not _is_in(column, names) and self._is_expected(field, names)
        ]
        if not names or not missing:
            return None
        if hint := _wrong_delimiter(names):
            return f"{table.name}: {hint}"
        field, column = missing[0], self._column_of[missing[0]]
        mapping = "Each label has a column of its own." if self._column_types[field] == "flag" else self._mapping
        unused = [name for name in names if name not in self._column_of.values()]
        similar = [name for name in unused if name == field or nearest(column, [name])]
        example = next(iter(similar or unused), "NAME")
        fault = f"no column {column!r}; found {_listed(names)}.{nearest(column, unused)}{self._origin(field)}"
        several = " Give a list of columns if each label has one of 0 and 1." if field == "labels" else ""
        return f"{table.name}: {fault} {mapping.format(field=field, column=json.dumps(example))}{several}"

    def _group_fault(self, names: Sequence[str]) -> str:
        """The problem with a table that has the columns of several groups of fields, or of none, and a fix."""
        if hint := _wrong_delimiter(names):
            return hint
        choices = [" and ".join(repr(self._column_of[field]) for field in group) for group in self._groups]
        if self._complete_groups(names):
            field = self._groups[0][0]
            fix = self._mapping.format(field=field, column=json.dumps(self._column_of[field]))
            return f"it has {' and also '.join(choices)}; rows must have only one of these. {fix}"
        fields = (field for group in self._groups for field in group)
        field = next(field for field in fields if not _is_in(self._column_of[field], names))
        unused = [name for name in names if name not in self._column_of.values()]
        fix = self._mapping.format(field=field, column=json.dumps(next(iter(unused), "NAME")))
        fault = f"no column {self._column_of[field]!r}" if len(choices) == 1 else f"it has no {', nor '.join(choices)}"
        return f"{fault}; found {_listed(names)}.{self._origin(field)} {fix}"

    def _origin(self, field: str) -> str:
        """Where the column of the field was set, if not by the user of this command."""
        return f" {self._origins[field]}" if field in self._origins else ""


def _top(column: str, names: Collection[str]) -> str:
    """The column that contains `translation.en`: `translation`, unless a column has exactly that name."""
    return column if column in names else column.partition(".")[0]


def _is_in(column: str, names: Collection[str]) -> bool:
    """Whether the column exists, or a column whose objects may have it as a key."""
    return _top(column, names) in names


def _value_at(column: str, values: Mapping[str, object], place: str) -> object:
    """The value of a column, or of a key of the object in it: `translation.en`."""
    if column in values:
        return values[column]
    outer, _, key = column.partition(".")
    outer_value = values[outer]
    if not isinstance(outer_value, Mapping) or key not in outer_value:
        content = f"has {_listed(outer_value)}" if isinstance(outer_value, Mapping) else f"is {described(outer_value)}"
        raise DataError(f"{place}: no {column!r} here; {outer!r} {content}. Every row needs it.")
    inner_value: object = outer_value[key]
    return inner_value


def _checked(parsed: Any, value: object, column_type: ColumnType, column: str, place: str) -> Any:
    """The parsed value, or an error that describes the value."""
    if parsed is None:
        raise DataError(f"{place}: {column!r} is {described(value)}. {_advice(value, column_type, column)}")
    for text in texts_in(parsed):
        if "\0" in text:
            raise DataError(f"{place}: {column!r} contains a NUL character. Remove it.")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise DataError(
                f"{place}: {column!r} contains half of a surrogate pair, which is not a character. Remove it."
            )
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
        return f"an object with {_listed(value)}"
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


def _wrong_delimiter(names: Sequence[str]) -> str | None:
    """How to fix a table of one column that looks like several."""
    for delimiter, delimiter_name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if len(names) == 1 and delimiter in names[0]:
            fix = "Save it with commas as .csv, or with tabs as .tsv."
            return f"one column named {names[0]!r:.80}; its cells seem to be separated by {delimiter_name}. {fix}"
    return None


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = ", ".join(f"{name!r:.60}" for name in list(names)[:_NUMBERS_SHOWN])
    return shown + (f" and {len(names) - _NUMBERS_SHOWN} more" if len(names) > _NUMBERS_SHOWN else "")


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_NUMBERS_SHOWN])
    return shown + (f" and {len(numbers) - _NUMBERS_SHOWN} more" if len(numbers) > _NUMBERS_SHOWN else "")

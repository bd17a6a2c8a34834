"""The columns of tables in which the fields of a task are found, and what to say about a table that lacks some."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence

from llmkit.data.clusters import CLUSTER
from llmkit.data.fields import MAPPED_IN_RECIPE, Fields
from llmkit.data.label_sets import split_columns
from llmkit.data.readers import BadRecord
from llmkit.data.records import is_in, listed
from llmkit.data.suggestions import is_identifier, likely_columns
from llmkit.data.tables import Table
from llmkit.errors import DataError, nearest
from llmkit.recipe.blocks import ColumnType

logger = logging.getLogger("llmkit")


class FieldColumns:
    """The columns of a task's fields, the same for all tables."""

    def __init__(self, fields: Fields, *, all_names: Collection[str]) -> None:
        """`all_names` are the columns of all tables."""
        columns, optional = dict(fields.columns), fields.optional
        column_of, self.column_types, self.flags = split_columns(columns, fields.column_types)
        self.column_of = {field: column_of.get(field, field) for field in self.column_types}
        columns.pop(CLUSTER, None)  # not a field that the user maps
        self.optional = {field for field in optional if field not in columns}
        self.constant = {field for field in self.optional if not optional[field]}
        self.may_be_blank = {field for field, blank_is_none in optional.items() if blank_is_none}
        all_groups = [tuple(group) for group in fields.groups if set(group) <= fields.column_types.keys()]
        mapped_groups = [group for group in all_groups if not columns.keys().isdisjoint(group)]
        self._groups = mapped_groups or all_groups
        self._grouped_fields = {field for group in all_groups for field in group}
        self._mapping = fields.mapping
        self._origins = fields.origins
        self._use_aliases(fields.aliases, columns, all_names)

    def _use_aliases(
        self, aliases: Mapping[str, Sequence[str]], columns: Mapping[str, object], all_names: Collection[str]
    ) -> None:
        """Read a field from a column with another usual name, if no table has its own name and the user maps none of the
        columns."""
        for field, others in aliases.items():
            column = next((name for name in others if name in all_names), None)
            if field in self.column_of and field not in all_names and not columns and column is not None:
                self.column_of[field] = column
                logger.info("columns: %s %r", field, column)

    def expected_types(self, names: Sequence[str]) -> dict[str, ColumnType]:
        """The fields to read from a table with these columns."""
        return {
            field: column_type
            for field, column_type in self.column_types.items()
            if field in self.optional or self._is_expected(field, names)
        }

    def _is_expected(self, field: str, names: Sequence[str]) -> bool:
        if field in self._grouped_fields:
            groups = self._complete_groups(names) or self._groups  # none: the table has no columns, `{}` in each row
            return field in groups[0]
        return field not in self.optional or is_in(self.column_of[field], names)

    def _complete_groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The groups of fields for which a table has all columns."""
        return [group for group in self._groups if all(is_in(self.column_of[field], names) for field in group)]

    def fault(self, table: Table, names: Sequence[str]) -> str | None:
        """The problem with the columns of a table, and how to map them; a table without columns has no rows either."""
        if names and self._groups and len(self._complete_groups(names)) != 1:
            return f"{table.name}: {self._group_fault(table, names)}"
        missing = [
            field
            for field, column in self.column_of.items()
            if not is_in(column, names) and self._is_expected(field, names)
        ]
        if not names or not missing:
            return None
        if hint := wrong_delimiter(names):
            return f"{table.name}: {hint}"
        field, column = missing[0], self.column_of[missing[0]]
        unused = [name for name in names if name not in self.column_of.values()]
        near = nearest(column, (name for name in unused if not is_identifier(name)))
        fault = f"no column {column!r}; found {listed(names)}.{near}{self._origin(field)}"
        if field == CLUSTER:
            return f"{table.name}: data.cluster: {fault} Correct data.cluster, or remove it."
        several = " Give a list of columns if each label has one of 0 and 1." if field == "labels" else ""
        fix = self._mapping_of(missing, table, names)
        if self.column_types[field] == "flag":
            fix = "Each label has a column of its own."
        return f"{table.name}: {fault} {fix}{several}"

    def _group_fault(self, table: Table, names: Sequence[str]) -> str:
        """The problem with a table that has the columns of several groups of fields, or of none, and a fix."""
        if hint := wrong_delimiter(names):
            return hint
        choices = [" and ".join(repr(self.column_of[field]) for field in group) for group in self._groups]
        if self._complete_groups(names):
            field = self._groups[0][0]
            fix = self._mapping.format(field=field, column=json.dumps(self.column_of[field]))
            return f"it has {' and also '.join(choices)}; rows must have only one of these. {fix}"
        missing = [[field for field in group if not is_in(self.column_of[field], names)] for group in self._groups]
        likely = [len(self._likely(fields, table, names)) == len(fields) for fields in missing]
        fields = next((fields for fields, found in zip(missing, likely, strict=True) if found), missing[0])
        field = fields[0]
        fix = self._mapping_of(fields, table, names)
        fault = f"no column {self.column_of[field]!r}" if len(choices) == 1 else f"it has no {', nor '.join(choices)}"
        return f"{fault}; found {listed(names)}.{self._origin(field)} {fix}"

    def _likely(self, fields: Sequence[str], table: Table, names: Sequence[str]) -> dict[str, str]:
        """Field -> the column that it may be."""
        unused = [name for name in names if name not in self.column_of.values()]
        records = (record for _, record in table.records(unused) if not isinstance(record, BadRecord))
        try:
            first = next(records, {})
        except DataError:  # what is wrong with the rows is reported when they are read
            first = {}
        return likely_columns({field: self.column_of[field] for field in fields}, self.column_types, unused, first)

    def _mapping_of(self, fields: Sequence[str], table: Table, names: Sequence[str]) -> str:
        """How to map the missing fields; a command has an option for each."""
        likely = self._likely(fields, table, names) or {fields[0]: "NAME"}
        columns = [(field, json.dumps(likely[field], ensure_ascii=False)) for field in fields if field in likely]
        if self._mapping != MAPPED_IN_RECIPE:
            columns = columns[:1]
        (field, column), *others = columns
        return self._mapping.format(field=field, column=", ".join([column, *(": ".join(other) for other in others)]))

    def _origin(self, field: str) -> str:
        """Where the column of the field was set, if not by the user of this command."""
        return f" {self._origins[field]}" if field in self._origins else ""


def wrong_delimiter(names: Sequence[str]) -> str | None:
    """How to fix a table of one column that looks like several."""
    for delimiter, delimiter_name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if len(names) == 1 and delimiter in names[0]:
            fix = "Save it with commas as .csv, or with tabs as .tsv."
            return f"one column named {names[0]!r:.80}; its cells seem to be separated by {delimiter_name}. {fix}"
    return None

"""Rows: the input of a task. Reads the task's columns from records, rejects invalid values, and counts skipped rows.

Knows no files: records come from tables.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from llmkit.data.bad_rows import BadRow, BadRowCount, OnBadRow, SkippedRows, bad_row_error
from llmkit.data.clusters import ClusterReader, Clusters
from llmkit.data.field_columns import FieldColumns
from llmkit.data.fields import Fields
from llmkit.data.readers import BadRecord, Record
from llmkit.data.records import RecordReader, is_in
from llmkit.data.tables import Table
from llmkit.errors import DataError, RowError
from llmkit.recipe.blocks import OffsetUnit

logger = logging.getLogger("llmkit")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    fields: dict[str, Any]
    """Values by the task's field, such as `text` and `label`, of the types in `column_types.py`."""
    place: str
    """Where the row starts: `reviews.csv:7`, or an index from 0: `hub:owner/name[12]`, `builtin:python-docs[12]`."""
    number: int = dataclasses.field(default=0, compare=False)
    """The number of the row in its table, from 1, skipped and bad rows included; 0 if it is not from a table."""
    file: str = dataclasses.field(default="", compare=False)
    """The name of its table, if there are several."""
    cluster: str | None = None
    """What it shares with the rows that it is not independent of; None for a row that is independent of all others."""


Check = Callable[[Row], None]
"""Raises a RowError for a row that a task cannot use."""


def no_check(row: Row) -> None:
    """All rows are good."""


class RowSource:
    """The rows of several tables, in sequence. Can be iterated any number of times; rows are not kept in memory.

    A row with an empty text is skipped; one warning per table counts these, once. A row is bad where a value is missing,
    has another type or is not valid text, or where `check` says so; `on_bad_row` decides whether iterating raises an
    error there or at the end, or leaves it out. It also raises a DataError if a file has changed since it was opened,
    and at the end if there was no row.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        fields: Fields,
        *,
        max_rows: int | None,
        by_document: bool = False,
        keep_empty: bool = False,
        offsets: OffsetUnit = "auto",
        check: Check = no_check,
        on_bad_row: OnBadRow = "raise",
        advice: str = "",
    ) -> None:
        """See `open_rows`.

        Args:
            by_document: clusters are the documents of CoNLL files.
        Raises:
            DataError: columns are missing; one problem per line, for all tables.
        """
        self._tables = tables
        self._max_rows = max_rows
        self._keep_empty = keep_empty
        self._offsets = offsets
        self._label_sets = fields.label_sets
        self.clusters = ClusterReader(fields.clusters or Clusters(), by_document)
        self.check = check
        """Raises a RowError for a row that the task cannot use."""
        self._on_bad_row = on_bad_row
        self._advice = advice
        self._is_quiet = False
        self._columns = [list(table.columns()) for table in tables]
        self._rows_used: list[int] | None = None
        self.skipped: dict[str, int] = {}
        """Rows skipped in the last iteration, by reason: `{"an empty text": 3}`."""
        self.skipped_places: dict[str, list[str]] = {}
        """Places of the first of them in each table, by reason."""
        self.left_out: Counter[str] = Counter()
        """Bad rows left out in the last iteration, by reason."""
        self._fields = FieldColumns(fields, all_names={name for names in self._columns for name in names})
        named_tables = zip(tables, self._columns, strict=True)
        problems = [problem for table, names in named_tables if (problem := self._fields.fault(table, names))]
        if problems:
            raise DataError("\n".join(problems))

    def __iter__(self) -> Iterator[Row]:
        for item in self._read():
            if isinstance(item, Row):
                yield item

    def bad_rows(self) -> Iterator[BadRow]:
        """The rows that are left out, read again."""
        return (item for item in self.without_bad_rows()._read() if isinstance(item, BadRow))

    def without_bad_rows(self) -> RowSource:
        """The same rows, without the bad ones, and without a word in the log."""
        source = copy.copy(self)
        source._on_bad_row, source._is_quiet = "skip", True
        return source

    def _read(self) -> Iterator[Row | BadRow]:
        self.skipped, self.skipped_places = {}, {}
        self.left_out = Counter()
        rows_used: list[int] = []
        bad_counts: list[tuple[BadRowCount, int]] = []
        has: dict[str, bool] = {}
        for table, columns in zip(self._tables, self._columns, strict=True):
            skipped_rows: dict[str, SkippedRows] = {}
            bad, records_read = BadRowCount(table.name, self._advice), 0
            rows_used.append(0)
            reader = RecordReader(
                table,
                columns,
                types=self._fields.expected_types(columns),
                column_of=self._fields.column_of,
                optional=self._fields.optional,
                constant=self._fields.constant,
                has=has,
                offsets=self._offsets,
                label_sets=self._label_sets,
                flags=self._fields.flags,
                null_is_empty=table.null_is_empty or self._keep_empty,
            )
            for number, record in self._records(table, reader.columns, [*bad_counts, (bad, 0)]):
                records_read += 1
                place = table.place(number)
                try:
                    empty = None if self._keep_empty else self._empty_column(record, table, reader.types)
                    if empty is None:
                        fields = reader.fields(number, record)
                        empty = None if self._keep_empty else self._empty_text(fields)
                    if empty is not None:
                        skipped_rows.setdefault(f"an empty {empty}", SkippedRows()).add(number)
                        continue
                    assert not isinstance(record, BadRecord), "its fields cannot be read"
                    cluster = self.clusters.read(fields, record, place)
                    row = Row(fields, place, records_read, table.name if len(self._tables) > 1 else "", cluster)
                    self.check(row)
                except RowError as error:
                    if self._on_bad_row == "raise":
                        raise
                    content = record.content if isinstance(record, BadRecord) else record
                    bad.add(bad_row := BadRow.of(error, content))
                    yield bad_row
                    continue
                rows_used[-1] += 1
                bad.usable += 1
                yield row
                if sum(rows_used) == self._max_rows:
                    break
            else:
                self._finish_table(reader, [*bad_counts, (bad, records_read)])
            bad_counts.append((bad, records_read))
            self._report(table, skipped_rows, bad, reader.converted_spans, usable=rows_used[-1], records=records_read)
            if sum(rows_used) == self._max_rows:
                break
        self._finish(rows_used, bad_counts)

    def _records(
        self, table: Table, columns: Sequence[str], bad_counts: Sequence[tuple[BadRowCount, int]]
    ) -> Iterator[Record]:
        """The records; an error of the file itself comes after the bad rows before it."""
        records = 0
        try:
            for record in table.records(columns):
                records += 1
                yield record
        except DataError as error:
            counts = [*bad_counts[:-1], (bad_counts[-1][0], records)]
            raise self._with_bad_rows(error, counts) from error

    def _finish_table(self, reader: RecordReader, bad_counts: Sequence[tuple[BadRowCount, int]]) -> None:
        try:
            reader.finish()
        except DataError as error:
            raise self._with_bad_rows(error, bad_counts) from error

    def _with_bad_rows(self, error: DataError, bad_counts: Sequence[tuple[BadRowCount, int]]) -> DataError:
        """The error, after the bad rows if they are listed."""
        listed_rows = bad_row_error(bad_counts, also=str(error)) if self._on_bad_row == "list" else None
        return listed_rows or error

    def _finish(self, rows_used: list[int], bad_counts: Sequence[tuple[BadRowCount, int]]) -> None:
        """
        Raises:
            DataError: there are bad rows, unless they are left out, or no usable rows.
        """
        self.left_out = sum((bad.reasons for bad, _ in bad_counts), Counter())
        if self._on_bad_row == "list" and (error := bad_row_error(bad_counts)):
            raise error
        if not any(rows_used):
            names = ", ".join(table.name for table in self._tables)
            bad = f"; {self.left_out.total():,} cannot be used" if self.left_out else ""
            raise DataError(
                f"{names}: no usable rows (0 of {sum(count for _, count in bad_counts):,}{bad}). Give data with at least "
                "one filled row."
            )
        self._rows_used = rows_used + [0] * (len(self._tables) - len(rows_used))

    def tables_without_clusters(self) -> list[str]:
        """The tables that lack the column of `clusters`; each of their rows is a cluster of its own."""
        column = self.clusters.clusters.column
        if column is None or self.clusters.by_document:
            return []
        tables = zip(self._tables, self._columns, strict=True)
        return [table.name for table, names in tables if names and not is_in(column, names)]

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

    def _empty_column(
        self, record: Mapping[str, object] | BadRecord, table: Table, fields: Collection[str]
    ) -> str | None:
        """The first field with texts, if the record has only empty cells, as the rows at the end of a spreadsheet."""
        empty = ("", None) if table.null_is_empty else ("",)
        if isinstance(record, BadRecord) or not record or any(value not in empty for value in record.values()):
            return None
        texts = (field for field in fields if self._fields.column_types[field] in ("text", "words"))
        return next((field for field in texts if field not in self._fields.optional), None)

    def _empty_text(self, fields: Mapping[str, Any]) -> str | None:
        """The first column with an empty text."""
        for field, value in fields.items():
            column_type = self._fields.column_types.get(field)
            if field in self._fields.may_be_blank:
                continue
            if (column_type == "text" and not value.strip()) or (column_type == "words" and not value):
                return field
        return None

    def _report(
        self,
        table: Table,
        skipped_rows: Mapping[str, SkippedRows],
        bad: BadRowCount,
        converted_spans: Mapping[str, int],
        *,
        usable: int,
        records: int,
    ) -> None:
        """Add to the counts, and warn about this table unless an earlier iteration has done so."""
        first_time = self._rows_used is None and not self._is_quiet
        if not usable and first_time:
            logger.warning("%s: no usable rows", table.name)
        if bad.rows and first_time and self._on_bad_row == "skip":
            bad.warn(records=records)
        for unit, count in converted_spans.items():
            if first_time:
                logger.info("%s: the offsets of %s spans count %s, read as characters", table.name, f"{count:,}", unit)
        for reason, skipped in skipped_rows.items():
            self.skipped[reason] = self.skipped.get(reason, 0) + skipped.count
            self.skipped_places.setdefault(reason, []).extend(map(table.place, skipped.first))
            if first_time:
                rows, units = ("row", table.unit) if skipped.count == 1 else ("rows", f"{table.unit}s")
                logger.warning(
                    "%s: skipped %d %s with %s (%s %s)", table.name, skipped.count, rows, reason, units, skipped
                )

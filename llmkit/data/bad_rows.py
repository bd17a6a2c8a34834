"""Rows that a task cannot use: reported together in one error, or left out and counted. Knows no files and no tasks."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from llmkit.errors import DataError, RowError

OnBadRow = Literal["raise", "list", "skip"]
"""What happens at a bad row: an error at once; an error at the end, which lists the bad rows; or it is left out."""
_ROWS_SHOWN = 20
_PLACES_SHOWN = 5
_NUMBERS_SHOWN = 10

logger = logging.getLogger("llmkit")


class BadRow(NamedTuple):
    place: str
    fault: str
    """What is wrong, for people."""
    reason: str
    """The same for all rows with such a fault, for counts."""
    content: object
    """The row as found."""

    @classmethod
    def of(cls, error: RowError, content: object) -> BadRow:
        return cls(error.place, error.fault, error.reason, content)


@dataclass
class BadRowCount:
    """The bad rows of one table."""

    table: str
    advice: str = ""
    """How to leave out such rows."""
    reasons: Counter[str] = field(default_factory=Counter)
    usable: int = 0
    """Rows of the table that are good, and not empty."""
    _first: list[BadRow] = field(default_factory=list)

    def add(self, row: BadRow) -> None:
        self.reasons[row.reason] += 1
        if len(self._first) < _ROWS_SHOWN:
            self._first.append(row)

    @property
    def rows(self) -> int:
        return self.reasons.total()

    def lines(self, *, records: int, advise: bool) -> list[str]:
        """The first bad rows with their faults, and a line with the counts.

        Args:
            records: number of rows that were read, good or bad.
            advise: say how to leave them out.
        """
        if not self.rows:
            return []
        shown = f"; the first {len(self._first)} are listed" if self.rows > len(self._first) else ""
        fix = f"Correct them{f', or leave them out with {self.advice}' if self.advice and advise else ''}."
        summary = f"{self.table}: {self._share(records)} cannot be used{shown}: {_listed(self.reasons)}. {fix}"
        return [*(f"{row.place}: {row.fault}" for row in self._first), summary]

    def warn(self, *, records: int) -> None:
        places = ", ".join(row.place for row in self._first[:_PLACES_SHOWN])
        more = " and more" if self.rows > _PLACES_SHOWN else ""
        logger.warning(
            "%s: left out %s that cannot be used: %s (%s%s)",
            *(self.table, self._share(records), _listed(self.reasons), places, more),
        )

    def _share(self, records: int) -> str:
        return f"{self.rows:,} of {records:,} row{'' if records == 1 else 's'}"


@dataclass
class SkippedRows:
    """Rows that were skipped for one reason: how many, and the numbers of the first ones."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) < _NUMBERS_SHOWN:
            self.first.append(number)

    def __str__(self) -> str:
        more = self.count - len(self.first)
        return ", ".join(map(str, self.first)) + (f" and {more} more" if more else "")


def bad_row_error(counts: Iterable[tuple[BadRowCount, int]], *, also: str = "") -> DataError | None:
    """One error for the bad rows of several tables, each with its number of rows; None if there are none.

    Args:
        also: another error, to be reported after them.
    """
    counts = list(counts)
    some = any(count.usable for count, _ in counts)  # without the bad rows, something must be left
    lines = [line for count, records in counts for line in count.lines(records=records, advise=some)]
    return DataError("\n".join([*lines, *([also] if also else [])])) if lines else None


def reason_counts(reasons: Iterable[Counter[str]]) -> dict[str, Any]:
    """For data.json: the number of rows left out, and how many for each reason."""
    total = sum(reasons, Counter[str]())
    return {"rows": total.total(), "reasons": dict(sorted(total.items()))}


def json_lines(rows: Iterable[BadRow]) -> Iterator[bytes]:
    """A JSON object with `place`, `fault` and `row` for each row, a line each."""
    for row in rows:
        values = {"place": row.place, "fault": row.fault, "row": row.content}
        line = json.dumps(values, ensure_ascii=False, default=str) + "\n"
        try:
            yield line.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which is why the row is bad
            yield (json.dumps(values, default=str) + "\n").encode()


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{count:,} with {reason}" for reason, count in reasons.most_common())

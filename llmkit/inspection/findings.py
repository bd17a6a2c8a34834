"""What a check reports: a finding, with rows to look at. Knows no checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from llmkit.training.splits import Split

Severity = Literal["error", "warning", "info"]
"""`error`: training would stop, or its scores would be wrong. `warning`: probably a mistake in the data. `info`: a
statistic, or a suggestion."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
_ROWS_LISTED = 20
_CHARACTERS = 200
"""Of a text in a finding."""


@dataclass(frozen=True)
class FoundRow:
    """A row to look at."""

    place: str
    text: str = ""
    """Its beginning, or the part that matters."""
    note: str = ""
    """What is special about it, such as the row that it is equal to."""


@dataclass(frozen=True)
class Finding:
    """One result of a check."""

    check: str
    """Name of the check, such as `duplicates`."""
    severity: Severity
    message: str
    """One line, with counts."""
    count: int = 0
    """Rows concerned; 0 for a statistic of all rows."""
    rows: tuple[FoundRow, ...] = ()
    """The first of them."""


@dataclass(frozen=True)
class DataReport:
    """The findings about the rows of a recipe."""

    recipe: str
    rows: Mapping[Split, int]
    """Split -> rows that the task can use."""
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[Severity, int]:
        """Findings of each severity."""
        counts = Counter(finding.severity for finding in self.findings)
        return {severity: counts[severity] for severity in SEVERITIES}


@dataclass(frozen=True)
class CheckStage:
    """What `check_data` does next."""

    name: str
    number: int
    """From 0."""
    stages: int


def found(check: str, severity: Severity, message: str, *, rows: Iterable[FoundRow], count: int) -> Finding:
    """A finding with the first of its rows, whose texts are shortened."""
    listed = []
    for row in rows:
        listed.append(replace(row, text=shortened(row.text), note=shortened(row.note)))
        if len(listed) == _ROWS_LISTED:
            break
    return Finding(check, severity, message, count, tuple(listed))


def shortened(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 3]}..."


def share(count: int, total: int) -> str:
    """`12 of 400 (3.0%)`."""
    return f"{count:,} of {total:,} ({count / total:.1%})" if total else f"{count:,}"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"

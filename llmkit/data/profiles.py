"""What the columns of a table contain, by a sample of its rows: the evidence for a task and its columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from llmkit.data.column_types import READERS, ValueFault, parsed_list
from llmkit.data.readers import Format, format_of
from llmkit.data.sources import first_records
from llmkit.data.suggestions import is_identifier
from llmkit.data.word_rows import sentence_column
from llmkit.recipe.blocks import ColumnType, Quoting

SAMPLE_ROWS = 1000
_MOST_LABEL_CHARACTERS = 80
_MOST_COUNTED_VALUES = 20
"""Whole numbers with more different values than this are measured, with fewer they are classes."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+|\d+")
"""A word of a name: `StarRating` and `star_rating` have two."""


@dataclass(frozen=True)
class Column:
    """A column, or a key of the objects in a column: `translation.en`."""

    name: str
    values: Sequence[object]
    """Those of the sampled rows that are not empty."""
    types: frozenset[ColumnType] = field(default=frozenset())
    """The types of all values."""

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the last part of its name, lowercased."""
        return tuple(word.casefold() for word in _WORD.findall(self.name.rpartition(".")[2]))

    @cached_property
    def counts(self) -> Counter[str]:
        """Each value, as text, and how often it occurs."""
        return Counter(str(value) for value in self.values)

    @cached_property
    def characters(self) -> float:
        """Mean length of a value as text."""
        return fmean(len(str(value)) for value in self.values) if self.values else 0.0

    @property
    def is_text(self) -> bool:
        return "text" in self.types and not self.types & {"number", "labels", "words", "spans", "messages", "answers"}

    @property
    def could_be_label(self) -> bool:
        """Whether its values are short enough for names of classes."""
        return "label" in self.types and all(len(value) <= _MOST_LABEL_CHARACTERS for value in self.counts)

    @property
    def is_label(self) -> bool:
        """Whether a few short values occur again and again."""
        return self.could_be_label and not self.is_measured and 2 <= len(self.counts) <= max(2, len(self.values) // 2)

    @property
    def is_measured(self) -> bool:
        """Whether it has numbers that are no classes."""
        if "number" not in self.types:
            return False
        numbers = {READERS["number"](value) for value in self.values}
        return len(numbers) > _MOST_COUNTED_VALUES or any(number != int(number) for number in numbers)

    @property
    def is_flag(self) -> bool:
        """Whether it has 0 and 1, or true and false, and nothing else."""
        return "flag" in self.types

    @cached_property
    def is_identifier(self) -> bool:
        """Whether it numbers the rows, or has the name of a column that does."""
        return is_identifier(self.name) or self._counts_up

    @property
    def _counts_up(self) -> bool:
        if "number" not in self.types or len(self.values) < _MOST_COUNTED_VALUES:
            return False
        numbers = [READERS["number"](value) for value in self.values]
        return all(second == first + 1 for first, second in pairwise(numbers))


@dataclass(frozen=True)
class TableProfile:
    """A table by the first rows that can be read."""

    source: str
    format: Format | None
    """None for data of the hub or a built-in set."""
    columns: tuple[Column, ...]
    rows: int
    """In the sample."""
    is_whole: bool
    """Whether the sample has all rows."""
    quoting: Quoting = "auto"

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def texts(self) -> list[Column]:
        return [column for column in self.columns if column.is_text and not column.is_identifier]

    @property
    def sentence(self) -> str | None:
        """The column that says which words form a sentence, where each row has a word."""
        return sentence_column([column.name for column in self.columns], besides=())


def profile_table(source: str, *, quoting: Quoting) -> TableProfile:
    """Read a sample of a table, the first if the source has several.

    Raises:
        DataError, MachineError: it cannot be read.
    """
    file_format = None if source.startswith(("hub:", "builtin:")) else format_of(Path(source))
    names, rows = first_records(source, SAMPLE_ROWS + 1, quoting=quoting)
    sampled = rows[:SAMPLE_ROWS]
    columns = [column for name in names for column in _columns(name, [row.get(name) for row in sampled])]
    return TableProfile(source, file_format, tuple(columns), len(sampled), len(rows) <= SAMPLE_ROWS, quoting)


def _columns(name: str, values: Sequence[object]) -> list[Column]:
    """The column, or one for each key of the objects in it."""
    filled = [value for value in values if value is not None and not (isinstance(value, str) and not value.strip())]
    types = frozenset(kind for kind in READERS if kind != "any" and _all_are(filled, kind))
    objects = [value for value in filled if isinstance(value, Mapping)]
    if types or not filled or len(objects) < len(filled):
        return [Column(name, filled, types)]
    return [
        column
        for key in objects[0]
        if "." not in name
        for column in _columns(f"{name}.{key}", [value.get(key) for value in objects])
    ]


def _all_are(values: Sequence[object], kind: ColumnType) -> bool:
    """Whether all values have a type, and some of them a content that shows it."""
    if not values:
        return False
    if kind == "answers" and not any(map(_is_structured_answer, values)):
        return False
    try:
        read = [READERS[kind](value) for value in values]
    except ValueFault:
        return False
    if any(value is None for value in read):
        return False
    return kind not in ("labels", "words", "spans", "messages") or any(read)


def _is_structured_answer(value: object) -> bool:
    """Whether this is more than a text: `{"text": [...], "answer_start": [...]}`, or a list of such objects. Spans and
    choices have a `label` besides the text."""
    if isinstance(value, str):
        value = parsed_list(value) if value.lstrip().startswith("[") else _object(value)
    if isinstance(value, list):
        return any(_is_structured_answer(item) for item in value if not isinstance(item, str))
    return isinstance(value, Mapping) and "text" in value and value.keys().isdisjoint(("label", "labels", "start"))


def _object(text: str) -> object:
    """The object that a cell of a CSV file writes as JSON."""
    inside = parsed_list(f"[{text}]") if text.lstrip().startswith("{") else None
    return inside[0] if inside else None

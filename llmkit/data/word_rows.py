"""Tables with one word per row, as spreadsheets of tagged words have them: their rows become sentences.

    sentence_id,words,tags
    0,Ada,B-PER
    0,sleeps,O
    1,Hello,O

A sentence is a run of rows with the same value in the sentence column; an empty cell there goes on with the sentence
before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from llmkit.data.readers import Record, good_records
from llmkit.data.tables import Table
from llmkit.errors import DataError

SENTENCE = "sentence"
"""The field whose column says which words form a sentence."""
_USUAL_NAMES = ("sentence_id", "sentence", "sent_id", "sentence #", "sentence_idx", "sentence_number", "sentence_no")


class WordRows:
    """A table of words as a table of sentences; the columns hold a list for each sentence."""

    def __init__(self, table: Table, *, sentence: str, lists: Sequence[str]) -> None:
        """
        Args:
            sentence: the column that says which words form a sentence.
            lists: the columns with a value per word.
        """
        self.name = table.name
        self.unit: Literal["line", "row"] = table.unit
        self.null_is_empty = table.null_is_empty
        self._table = table
        self._sentence = sentence
        self._lists = lists

    def columns(self) -> Sequence[str]:
        return [column for column in self._table.columns() if column in self._lists]

    def records(self, wanted: Sequence[str]) -> Iterator[Record]:
        """One record per sentence, with the number of its first row.

        Raises:
            DataError: a sentence whose rows do not stand together, or a cell that is no text.
        """
        seen: set[str] = set()
        for sentence, rows in itertools.groupby(self._numbered(wanted), key=lambda row: row[0]):
            words = [(number, values) for _, number, values in rows]
            first = words[0][0]
            if sentence in seen:
                raise DataError(
                    f"{self.place(first)}: {self._sentence!r} is {sentence!r:.40} again, and other sentences stand "
                    "between. Sort the rows by sentence, or number the sentences over the whole file."
                )
            seen.add(sentence)
            yield first, {column: [self._cell(*word, column) for word in words] for column in wanted}

    def place(self, number: int) -> str:
        return self._table.place(number)

    def fingerprint(self) -> dict[str, Any]:
        return self._table.fingerprint()

    def _numbered(self, wanted: Sequence[str]) -> Iterator[tuple[str, int, Mapping[str, object]]]:
        """The sentence, the number and the values of each row."""
        current: str | None = None
        for number, values in good_records(self._table.records([self._sentence, *wanted]), self.place):
            given = values.get(self._sentence)
            named = "" if given is None else str(given).strip()
            current = named or current
            if current is None:
                raise DataError(f"{self.place(number)}: {self._sentence!r} is empty. Name the sentence of each word.")
            yield current, number, values

    def _cell(self, number: int, values: Mapping[str, object], column: str) -> object:
        value = values.get(column)
        if value is None or isinstance(value, list | Mapping):
            found = "missing" if value is None else "not a single word or tag, as in the first row"
            raise DataError(f"{self.place(number)}: {column!r} is {found}. Give one word and one tag per row.")
        return value


def with_sentences(table: Table, columns: Mapping[str, str]) -> Table:
    """The table itself, or its sentences where it has a word in each row.

    Args:
        columns: field -> name of its column, where the two differ.
    Raises:
        DataError: words stand in rows, and no column says which sentence they are of.
    """
    names = table.columns()
    words, tags = columns.get("words", "words"), columns.get("tags", "tags")
    if words not in names:
        return table
    per_word = [column for column in (words, tags) if column in names]
    first = next(good_records(table.records(per_word), table.place), None)
    if first is None or not all(_is_single(first[1].get(column)) for column in per_word):
        return table
    sentence = columns.get(SENTENCE) or sentence_column(names, besides=per_word)
    if sentence is None or sentence not in names:
        found = ", ".join(repr(name) for name in names)
        fault = "no column says which words form a sentence" if sentence is None else f"there is no {sentence!r}"
        raise DataError(
            f"{table.place(first[0])}: {words!r} has one word per row, and {fault}; found {found}. Name it in the "
            f"recipe, data.columns: {{{SENTENCE}: NAME}}, or give each row a list of words."
        )
    return WordRows(table, sentence=sentence, lists=[name for name in names if name != sentence])


def sentence_column(names: Sequence[str], *, besides: Sequence[str]) -> str | None:
    """The column that has a usual name for the number of a sentence, if there is one.

    Args:
        besides: columns that are read as something else.
    """
    return next((name for name in names if name.lower() in _USUAL_NAMES and name not in besides), None)


def _is_single(value: object) -> bool:
    """Whether this is a single word or tag, and no list of them, as JSON or not."""
    if isinstance(value, str):
        return bool(value.strip()) and not value.lstrip().startswith("[")
    return isinstance(value, int)

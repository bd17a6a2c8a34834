"""Inputs of `tag`: texts, or words that are already split.

Knows which columns have words; what a text is, is decided in `texts.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from llmkit.api.texts import NAMED_BY_OPTION, InputRow, row_id, text_rows
from llmkit.data.column_types import words
from llmkit.data.fields import Fields
from llmkit.data.rows import Row
from llmkit.data.sources import column_names, is_plain_text, open_rows
from llmkit.data.word_rows import sentence_column
from llmkit.recipe.blocks import Quoting

_VALUES_TRIED = 20
"""Enough to tell words from texts."""


def word_or_text_rows(
    source: str | Path, *, column: str | None = None, by_line: bool = True, quoting: Quoting = "auto"
) -> Iterator[InputRow[str]] | Iterator[InputRow[list[str]]]:
    """What `tag` reads of a file: texts as `text_rows`, or lists of words, as CoNLL files have them.

    Args:
        column: of the texts or words; without it, `text`, else `words`. It has words where it has lists, also as JSON
            in a cell, or one word per row beside a column that names the sentence.
        by_line, quoting: as for `text_rows`.
    Raises:
        DataError: missing, unreadable, or without the column.
    """
    if is_plain_text(source):
        return text_rows(source, column=column or "text", by_line=by_line, quoting=quoting)
    names = column_names(str(source), quoting=quoting)
    named = column or ("words" if "words" in names and "text" not in names else "text")
    if not _has_words(str(source), named, names, quoting=quoting):
        return text_rows(source, column=named, by_line=by_line, quoting=quoting)
    grouped = sentence_column(names, besides=[named]) is not None
    rows = open_rows(
        [str(source)],
        Fields(
            column_types={"words": "words"} if grouped else {"words": "words", "id": "any"},
            columns={"words": named},
            optional={} if grouped else {"id": False},
            mapping=NAMED_BY_OPTION,
        ),
        quoting=quoting,
        keep_empty=True,
    )
    return (_word_row(number, row) for number, row in enumerate(rows, 1))


def _word_row(number: int, row: Row) -> InputRow[list[str]]:
    given = row.fields["words"]
    return InputRow(number, given, row.place, row_id(row), None if given else "there are no words")


def read_words_or_texts(
    source: str | Path, *, column: str | None = None, by_line: bool = True, quoting: Quoting = "auto"
) -> Iterator[str] | Iterator[list[str]]:
    """As `word_or_text_rows`, the texts or lists of words alone."""
    rows: Iterator[InputRow[Any]] = word_or_text_rows(source, column=column, by_line=by_line, quoting=quoting)
    return (row.value for row in rows)


def _has_words(source: str, column: str, names: Sequence[str], *, quoting: Quoting) -> bool:
    """Whether a column has words, by its first values that are not empty."""
    if column not in names:
        return False  # whoever reads it says so
    rows = open_rows([source], Fields(column_types={"value": "any"}, columns={"value": column}), quoting=quoting)
    values = list(islice((value for row in rows for value in row.fields["value"] if value), _VALUES_TRIED))
    if not values or not isinstance(values[0], str):
        return bool(values) and isinstance(values[0], list)
    if words(values[0]) or column == "words":
        return True
    single = all(isinstance(value, str) and len(value.split()) == 1 for value in values)
    return single and column != "text" and sentence_column(names, besides=[column]) is not None

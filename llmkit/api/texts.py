"""Texts from files, for the verbs that use a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from llmkit.data.column_types import words
from llmkit.data.sources import column_names, is_plain_text, open_rows
from llmkit.data.word_rows import sentence_column
from llmkit.recipe.blocks import Quoting

_VALUES_TRIED = 20
"""Enough to tell words from texts."""
_NAMED_BY_OPTION = "Name another with --column {column}"


def read_texts(
    source: str | Path, *, column: str = "text", by_line: bool = True, quoting: Quoting = "auto"
) -> Iterator[str]:
    """One text per row of a file, folder, `hub:` or `builtin:` source, read as a stream.

    Args:
        by_line: each line of a plain text file is a text; else the file is.
        quoting: what quotation marks mean in .csv and .tsv files, as `data.quoting` in a recipe.
    Raises:
        DataError: missing, unreadable, or without the column.
    """
    unit: Literal["line", "file"] = "line" if by_line else "file"
    rows = open_rows(
        [str(source)],
        column_types={"text": "text"},
        columns={"text": column},
        text_files=unit,
        quoting=quoting,
        mapping=_NAMED_BY_OPTION,
    )
    return (row.fields["text"] for row in rows)


def read_words_or_texts(
    source: str | Path, *, column: str | None = None, by_line: bool = True, quoting: Quoting = "auto"
) -> Iterator[str] | Iterator[list[str]]:
    """What `tag` reads of a file: texts as `read_texts`, or lists of words, as CoNLL files have them.

    Args:
        column: of the texts or words; without it, `text`, else `words`. It has words where it has lists, also as JSON
            in a cell, or one word per row beside a column that names the sentence.
        by_line, quoting: as for `read_texts`.
    Raises:
        DataError: missing, unreadable, or without the column.
    """
    unit: Literal["line", "file"] = "line" if by_line else "file"
    if is_plain_text(source):
        return read_texts(source, column=column or "text", by_line=by_line, quoting=quoting)
    names = column_names(str(source), quoting=quoting)
    named = column or ("words" if "words" in names and "text" not in names else "text")
    if not _has_words(str(source), named, names, quoting=quoting):
        return read_texts(source, column=named, by_line=by_line, quoting=quoting)
    rows = open_rows(
        [str(source)],
        column_types={"words": "words"},
        columns={"words": named},
        text_files=unit,
        quoting=quoting,
        mapping=_NAMED_BY_OPTION,
    )
    return (row.fields["words"] for row in rows)


def _has_words(source: str, column: str, names: Sequence[str], *, quoting: Quoting) -> bool:
    """Whether a column has words, by its first values that are not empty."""
    if column not in names:
        return False  # whoever reads it says so
    rows = open_rows([source], column_types={"value": "any"}, columns={"value": column}, quoting=quoting)
    values = list(islice((value for row in rows for value in row.fields["value"] if value), _VALUES_TRIED))
    if not values or not isinstance(values[0], str):
        return bool(values) and isinstance(values[0], list)
    if words(values[0]) or column == "words":
        return True
    single = all(isinstance(value, str) and len(value.split()) == 1 for value in values)
    return single and column != "text" and sentence_column(names, besides=[column]) is not None


def read_questions(
    source: str | Path,
    *,
    context_column: str = "context",
    question_column: str = "question",
    quoting: Quoting = "auto",
) -> Iterator[tuple[str, str]]:
    """Question and context of each row of a file with columns, read as a stream; `quoting` as for `read_texts`.

    Raises:
        DataError: missing, unreadable, plain text, or without the columns.
    """
    rows = open_rows(
        [str(source)],
        column_types={"context": "text", "question": "text"},
        columns={"context": context_column, "question": question_column},
        quoting=quoting,
        mapping="Name another with --column (contexts) or --question-column",
    )
    return ((row.fields["question"], row.fields["context"]) for row in rows)


def read_pairs(
    source: str | Path, *, column: str = "text", pair_column: str = "text_pair", quoting: Quoting = "auto"
) -> Iterator[tuple[str, str]]:
    """Two texts per row of a source with columns, read as a stream; `quoting` as for `read_texts`.

    Raises:
        DataError: missing, unreadable, or without one of the columns.
    """
    columns = {"text": column, "text_pair": pair_column}
    rows = open_rows(
        [str(source)],
        column_types={"text": "text", "text_pair": "text"},
        columns=columns,
        quoting=quoting,
        mapping="Name the two columns with --column and --pair-column",
    )
    return ((row.fields["text"], row.fields["text_pair"]) for row in rows)

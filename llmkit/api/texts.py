"""Texts from files, for the verbs that use a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from llmkit.data.sources import open_rows
from llmkit.recipe.blocks import Quoting

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

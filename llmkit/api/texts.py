"""Inputs of the verbs from files and pipes. One rule for what is one text, for all verbs.

Plain text, on the command line, in a file or from a pipe, is UTF-8 without its byte order mark; CRLF and CR count as LF.
A text does not include the line end after it: each line is one text without its line end, or all of it is one text
without the last line end. A string in Python and a cell of a file with columns are exactly that text.

Every row is there, also one without a text, so that results can be matched with rows by their number.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from llmkit.data.fields import Fields
from llmkit.data.files import stream_lines
from llmkit.data.readers import input_texts
from llmkit.data.rows import Row
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.recipe.blocks import Quoting
from llmkit.tasks.multiple_choice.choices import Question, question_of
from llmkit.tasks.multiple_choice.recipe import MultipleChoiceRecipe

Value = TypeVar("Value", covariant=True)
STANDARD_INPUT = "standard input"
NAMED_BY_OPTION = "Name another with --column {column}"


@dataclass(frozen=True)
class InputRow(Generic[Value]):
    """One row of the input of a verb."""

    row: int
    """From 1; of plain text by line, the number of the line."""
    value: Value
    """A text, a pair of texts or a question with choices."""
    place: str
    """Where it is, for people."""
    id: object = None
    """Its value in the column `id`, if there is one."""
    empty: str | None = None
    """Why the model has nothing to read; None for a row with text."""

    @property
    def keys(self) -> dict[str, Any]:
        """Its number, and its id if it has one: the first keys of its result."""
        return {"row": self.row} if self.id is None else {"row": self.row, "id": self.id}


def argument_row(argument: str) -> InputRow[str]:
    """A text on the command line, by the rules of plain text; it is read by the model, also if it is empty."""
    lines = io.StringIO(argument.removeprefix("\ufeff"), newline=None)
    text = "".join(text for _, text in input_texts(lines, by_line=False))
    return InputRow(1, text, "row 1")


def given_rows(values: Iterable[Value]) -> Iterator[InputRow[Value]]:
    """Values as rows, in their order. Each is read by the model, which may refuse one that is empty."""
    return (InputRow(row, value, f"row {row:,}") for row, value in enumerate(values, 1))


def stream_rows(stream: BinaryIO, *, by_line: bool) -> Iterator[InputRow[str]]:
    """The texts of standard input, as soon as they arrive.

    Raises:
        DataError: it has no line, is not UTF-8, or contains a NUL.
    """
    none = True
    for number, text in input_texts(stream_lines(stream, STANDARD_INPUT), by_line=by_line):
        none = False
        yield InputRow(number, text, f"{STANDARD_INPUT}:{number}", empty=_empty({"text": text}, "text"))
    if none:
        raise DataError(f"{STANDARD_INPUT}: no rows to read. Pipe in at least one text.")


def text_rows(
    source: str | Path, *, column: str = "text", by_line: bool = True, quoting: Quoting = "auto"
) -> Iterator[InputRow[str]]:
    """One text per row of a file, folder, `hub:` or `builtin:` source, read as a stream.

    Args:
        by_line: each line of a plain text file is a text, else the whole file is.
        quoting: the meaning of quotation marks in .csv and .tsv files, as `data.quoting` in a recipe.
    Raises:
        DataError: missing, unreadable, or without the column.
    """
    rows = open_rows(
        [str(source)],
        Fields(
            column_types={"text": "text", "id": "any"},
            columns={"text": column},
            optional={"id": False},
            mapping=NAMED_BY_OPTION,
        ),
        text_files="every line" if by_line else "input",
        quoting=quoting,
        keep_empty=True,
    )
    return (
        InputRow(number, row.fields["text"], row.place, row_id(row), _empty(row.fields, "text"))
        for number, row in enumerate(rows, 1)
    )


def pair_rows(
    source: str | Path,
    *,
    first: str,
    second: str,
    columns: Mapping[str, str],
    quoting: Quoting = "auto",
    mapping: str,
) -> Iterator[InputRow[tuple[str, str]]]:
    """Two texts per row of a source with columns, read as a stream.

    Args:
        first: field of the first text of a pair.
        second: field of the second one.
        columns: field -> its column.
        mapping: how to name another column, for the message about one that is missing.
    Raises:
        DataError: missing, unreadable, plain text, or without one of the columns.
    """
    rows = open_rows(
        [str(source)],
        Fields(
            column_types={first: "text", second: "text", "id": "any"},
            columns=columns,
            optional={"id": False},
            mapping=mapping,
        ),
        quoting=quoting,
        keep_empty=True,
    )
    return (
        InputRow(
            number, (row.fields[first], row.fields[second]), row.place, row_id(row), _empty(row.fields, first, second)
        )
        for number, row in enumerate(rows, 1)
    )


def classifier_pairs(
    source: str | Path, *, column: str = "text", pair_column: str = "text_pair", quoting: Quoting = "auto"
) -> Iterator[InputRow[tuple[str, str]]]:
    """Text and text_pair of each row; see `pair_rows`."""
    return pair_rows(
        source,
        first="text",
        second="text_pair",
        columns={"text": column, "text_pair": pair_column},
        quoting=quoting,
        mapping="Name the two columns with --column and --pair-column",
    )


def question_rows(
    source: str | Path,
    *,
    context_column: str = "context",
    question_column: str = "question",
    quoting: Quoting = "auto",
) -> Iterator[InputRow[tuple[str, str]]]:
    """Question and context of each row; see `pair_rows`."""
    return pair_rows(
        source,
        first="question",
        second="context",
        columns={"context": context_column, "question": question_column},
        quoting=quoting,
        mapping="Name another with --column (contexts) or --question-column",
    )


def read_texts(
    source: str | Path, *, column: str = "text", by_line: bool = True, quoting: Quoting = "auto"
) -> Iterator[str]:
    """As `text_rows`, the texts alone: as many as the source has rows, blank ones too."""
    return (row.value for row in text_rows(source, column=column, by_line=by_line, quoting=quoting))


def read_questions(
    source: str | Path,
    *,
    context_column: str = "context",
    question_column: str = "question",
    quoting: Quoting = "auto",
) -> Iterator[tuple[str, str]]:
    """As `question_rows`, the questions with their contexts alone."""
    rows = question_rows(source, context_column=context_column, question_column=question_column, quoting=quoting)
    return (row.value for row in rows)


def read_pairs(
    source: str | Path, *, column: str = "text", pair_column: str = "text_pair", quoting: Quoting = "auto"
) -> Iterator[tuple[str, str]]:
    """As `classifier_pairs`, the pairs alone."""
    return (row.value for row in classifier_pairs(source, column=column, pair_column=pair_column, quoting=quoting))


def choice_rows(
    source: str | Path, *, columns: Mapping[str, str], quoting: Quoting = "auto"
) -> Iterator[InputRow[Question]]:
    """The questions of a file with columns, as a stream: the fields of the recipe, without the answer.

    Raises:
        DataError: missing, unreadable, without the columns, or a row that is not a valid question.
    """
    rows = open_rows(
        [str(source)],
        Fields(
            column_types={
                **{field: kind for field, kind in MultipleChoiceRecipe.COLUMN_TYPES.items() if field != "answer"},
                "id": "any",
            },
            optional={**MultipleChoiceRecipe.OPTIONAL_FIELDS, "id": False},
            groups=MultipleChoiceRecipe.FIELD_GROUPS,
            columns=dict(columns),
            mapping="Map it with --column {field}={column}",
        ),
        quoting=quoting,
        keep_empty=True,
    )
    return (_choice_row(number, row) for number, row in enumerate(rows, 1))


def _choice_row(number: int, row: Row) -> InputRow[Question]:
    read = "".join(row.fields.get(field, "") for field in ("context", "question"))
    if read.strip():
        return InputRow(number, question_of(row), row.place, row_id(row))
    return InputRow(number, Question(()), row.place, row_id(row), "the context and the question are empty")


def row_id(row: Row) -> object:
    """As in the input if JSON has such a value, else as text."""
    [value] = row.fields.get("id", [None])
    return value if isinstance(value, str | int | float | None) else str(value)


def _empty(values: Mapping[str, Any], *fields: str) -> str | None:
    """Why a row cannot be read: the first field whose text is blank."""
    return next((f"the {field} is empty" for field in fields if not values[field].strip()), None)

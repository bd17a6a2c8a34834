"""Input rows from an argument, a file or a pipe.

`llmkit/api/texts.py` says what is one text.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from llmkit.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    from llmkit.api import InputRow

Value = TypeVar("Value")
_PLAIN_TEXT = (".txt", ".text", ".md")
_FILES = (*_PLAIN_TEXT, ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".conll", ".conllu")


Quoting = Literal["auto", "csv", "none"]
"""The meaning of quotes in .csv and .tsv files."""

logger = logging.getLogger("llmkit")


def input_rows(
    source: str | None, *, column: str, by_line: bool, quoting: Quoting = "auto", note: bool = False
) -> Iterator[InputRow[str]]:
    """The texts of an argument: a text, a file name, or `-` or None for standard input.

    Args:
        column: the column that contains the texts, in a file with columns.
        by_line: whether each line of plain text is a separate text.
        note: log how plain text of several lines is read, since the user has not said it.
    Raises:
        UsageError: there is no argument, and standard input is a terminal.
        DataError: the argument looks like a file name, but there is no such file; the input is not UTF-8.
    """
    from llmkit.api import argument_row, stream_rows, text_rows

    if source is None or source == "-":
        if sys.stdin is None or (source is None and sys.stdin.isatty()):
            raise UsageError("give a text or a file, or pipe texts in.")
        rows = stream_rows(sys.stdin.buffer, by_line=by_line)
        return noted(rows, "standard input", by_line=by_line) if note else rows
    if is_data_file(source):
        rows = text_rows(source, column=column, by_line=by_line, quoting=quoting)
        return noted(rows, source, by_line=by_line) if note else rows
    if _has_extension(source):
        raise DataError(f"{source}: {_no_such_file(Path(source))} To use it as a text, pipe it in.")
    return iter([argument_row(as_text(source))])


def noted(rows: Iterator[InputRow[Value]], name: str, *, by_line: bool) -> Iterator[InputRow[Value]]:
    """The same rows; once it is known that a plain text has several lines, logs how they are read."""
    if name.startswith(("builtin:", "hub:")) or not (name == "standard input" or name.lower().endswith(_PLAIN_TEXT)):
        yield from rows
        return
    for number, row in enumerate(rows, 1):
        if by_line and number == 2:
            logger.info("%s: each line is one text; --whole reads all lines as one", name)
        elif not by_line and isinstance(row.value, str) and "\n" in row.value:
            lines = row.value.count("\n") + 1
            logger.info("%s: its %s lines are read as one text; --lines reads each line as one", name, f"{lines:,}")
        yield row


def input_words_or_texts(
    source: str | None, *, column: str | None, by_line: bool, quoting: Quoting = "auto"
) -> Iterator[InputRow[str]] | Iterator[InputRow[list[str]]]:
    """As `input_rows`, but a file may have lists of words in place of texts; without a column it is `text` or `words`."""
    if source is None or source == "-" or not is_data_file(source):
        return input_rows(source, column=column or "text", by_line=by_line, quoting=quoting)
    from llmkit.api import word_or_text_rows

    return word_or_text_rows(source, column=column, by_line=by_line, quoting=quoting)


def is_file_name(source: str) -> bool:
    """Whether an argument is a file or another source of rows, or has the name of one."""
    return is_data_file(source) or _has_extension(source)


def input_pairs(
    source: str | None, *, column: str, pair_column: str, quoting: Quoting = "auto"
) -> Iterator[InputRow[tuple[str, str]]]:
    """The pairs of texts in a file with two columns.

    Raises:
        UsageError: no file was given.
        DataError: a column is missing.
    """
    if source is None or not is_data_file(source):
        raise UsageError(
            f"pairs of texts come from a file with the columns {column} and {pair_column}; give one as the argument."
        )
    from llmkit.api import classifier_pairs

    return classifier_pairs(source, column=column, pair_column=pair_column, quoting=quoting)


def as_text(argument: str) -> str:
    """The argument decoded as UTF-8, also in an ASCII locale."""
    with contextlib.suppress(UnicodeEncodeError):  # half of a surrogate pair: whoever reads the text refuses it
        return os.fsencode(argument).decode("utf-8", "surrogateescape")
    return argument


def _no_such_file(path: Path) -> str:
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"there is no folder {folder}."
    return f"there is no such file in {folder}.{nearest(path.name, (entry.name for entry in folder.iterdir()))}"


def is_data_file(source: str) -> bool:
    if source.startswith(("builtin:", "hub:")):
        return True
    with contextlib.suppress(OSError, ValueError):  # a long text cannot be a file name
        return bool(source) and Path(source).exists()
    return False


def _has_extension(source: str) -> bool:
    return source.lower().endswith(_FILES) and not any(char.isspace() for char in source)

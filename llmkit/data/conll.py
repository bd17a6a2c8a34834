"""CoNLL files: one word per line with its tags in columns, a blank line after each sentence. Read as a stream.

Columns are separated by tabs if the first line has one, else by runs of spaces; other white space is part of a word.
Knows no tag schemes: tags are not changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from llmkit.data.files import text_lines
from llmkit.errors import DataError

WORDS, TAGS = "words", "tags"
"""Names of the first and the last column; all columns also have numbers, from 1."""
_DOCUMENT = "-DOCSTART-"
_SPACES = re.compile(r"[ \t]+")  # str.split() would also cut at a no-break space inside a word
_BLANK = " \t\r\n"


def conll_columns(path: Path, name: str) -> list[str]:
    """`words`, `tags`, and the number of each column as text; empty if there is no word.

    Raises:
        DataError: the file is not text, or has only one column.
    """
    first = next(_word_lines(path, name), None)
    return [] if first is None or first[1] is None else _names(len(first[1]))


def read_conll(path: Path, name: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """One record per sentence, with the line of its first word; `-DOCSTART-` lines end a sentence and are skipped.

    Raises:
        DataError: also a line with more or fewer columns than the first, or an empty cell, with its line.
    """
    lines: list[list[str]] = []
    start = 1
    for number, cells in _word_lines(path, name):
        if cells is not None:
            start = start if lines else number
            lines.append(cells)
        elif lines:
            yield start, _sentence(lines)
            lines = []
    if lines:
        yield start, _sentence(lines)


def _word_lines(path: Path, name: str) -> Iterator[tuple[int, list[str] | None]]:
    """Number and cells of each line with a word; None for the cells where a sentence ends."""
    separator: str | re.Pattern[str] | None = None
    columns = 0
    for number, line in enumerate(text_lines(path, name, translate=True), 1):
        stripped = line.strip(_BLANK)
        if not stripped or _SPACES.split(stripped, maxsplit=1)[0] == _DOCUMENT:
            if columns:
                yield number, None
            continue
        if separator is None:
            separator = "\t" if "\t" in stripped else _SPACES
        cells = _cells(line, separator)
        if not columns:
            columns = len(cells)
            if columns < 2:
                fix = "A line must have a word and its tag, separated by spaces or a tab."
                raise DataError(f"{name}:{number}: only one column, {stripped!r:.60}. {fix}")
        if len(cells) != columns:
            counted = "one column" if len(cells) == 1 else f"{len(cells)} columns"
            fix = "All lines of a file must have the same columns."
            raise DataError(f"{name}:{number}: {counted} where the first line has {columns}: {stripped!r:.60}. {fix}")
        if not all(cells):
            raise DataError(f"{name}:{number}: an empty word or tag: {line.rstrip()!r:.60}. Fill it in.")
        yield number, cells


def _cells(line: str, separator: str | re.Pattern[str]) -> list[str]:
    if isinstance(separator, str):
        return [cell.strip(_BLANK) for cell in line.rstrip(_BLANK).split(separator)]
    return separator.split(line.strip(_BLANK))


def _names(columns: int) -> list[str]:
    return [WORDS, TAGS, *(str(number) for number in range(1, columns + 1))]


def _sentence(lines: Sequence[Sequence[str]]) -> dict[str, object]:
    by_column = [list(cells) for cells in zip(*lines, strict=True)]
    return dict(zip(_names(len(by_column)), [by_column[0], by_column[-1], *by_column], strict=True))

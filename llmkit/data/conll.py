"""CoNLL files: one word per line with its tags in columns, a blank line after each sentence. Read as a stream.

Columns are separated by tabs if the first line has one, else by runs of spaces; other white space is part of a word.
CoNLL-U files, which number their words, have names for their columns. Knows no tag schemes: tags are not changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from llmkit.data.files import text_lines
from llmkit.errors import DataError

WORDS, TAGS = "words", "tags"
"""Names of the first and the last column; all columns also have numbers, from 1."""
DOCUMENT = "document"
"""The key of a record with the place where the sentence's document begins. It is no column of the file."""
_CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""Columns of CoNLL-U; its words are the forms, and its tags the universal parts of speech."""
_GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
_WORD_NUMBER = re.compile(r"\d+([-.]\d+)?")
_DOCUMENT = "-DOCSTART-"
_DOCUMENT_COMMENT = re.compile(r"#\s*newdoc(\s+id\s*=.*)?\s*")
"""The mark of CoNLL-U."""
_SPACES = re.compile(r"[ \t]+")  # str.split() would also cut at a no-break space inside a word
_BLANK = " \t\r\n"


def conll_columns(path: Path, name: str) -> list[str]:
    """`words`, `tags`, the number of each column as text, and the names that CoNLL-U gives them; empty without words.

    Raises:
        DataError: the file is not text, or has only one column.
    """
    layout = _layout_of(path, name)
    return [] if layout is None else list(layout.names)


def marked_documents(path: Path, name: str) -> Literal[0, 1, 2]:
    """The number of documents that begin with a mark and have words; 2 stands for two or more."""
    documents: set[int] = set()
    mark = 0
    for number, _, kind in _lines(path, name):
        if kind == "document":
            mark = number
        elif kind == "word" and mark:
            documents.add(mark)
            if len(documents) == 2:
                return 2
    return 1 if documents else 0


def read_conll(path: Path, name: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    """One record per sentence, with the line of its first word. Besides the columns it has a `DOCUMENT`.

    `-DOCSTART-` lines end a sentence and begin a document, as `# newdoc` does; they and comments before a sentence are
    skipped, and so are the multiword tokens and empty nodes of CoNLL-U.

    Raises:
        DataError: also a line with more or fewer columns than the first, or an empty cell, with its line.
    """
    layout = _layout_of(path, name)
    if layout is None:
        return
    sentence: list[list[str]] = []
    start = document = 1
    for number, cells, mark in _word_lines(path, name, layout):
        if cells is not None:
            start = start if sentence else number
            sentence.append(cells)
        elif sentence:
            yield start, _record(sentence, layout.names, document=f"{name}:{document}")
            sentence = []
        document = mark
    if sentence:
        yield start, _record(sentence, layout.names, document=f"{name}:{document}")


@dataclass(frozen=True)
class _Layout:
    """The columns of a file, by its first line that is a word for sure."""

    separator: str | re.Pattern[str]
    columns: int
    names: Mapping[str, int]
    """Name -> index of its column."""
    numbered: bool
    """Whether the first column numbers the words, as in CoNLL-U."""

    def cells(self, line: str) -> list[str]:
        if isinstance(self.separator, str):
            return [cell.strip(_BLANK) for cell in line.rstrip(_BLANK).split(self.separator)]
        return self.separator.split(line.strip(_BLANK))


def _layout_of(path: Path, name: str) -> _Layout | None:
    """None for a file without words."""
    header: tuple[str, ...] = ()
    for number, line, kind in _lines(path, name):
        if kind == "maybe comment" and (match := _GLOBAL_COLUMNS.match(line)):
            header = tuple(match[1].lower().split())
        if kind != "word":
            continue
        stripped = line.strip(_BLANK)
        layout = _Layout("\t" if "\t" in stripped else _SPACES, 0, {}, numbered=False)
        first = layout.cells(line)
        if len(first) < 2:
            fix = "A line must have a word and its tag, separated by spaces or a tab."
            raise DataError(f"{name}:{number}: only one column, {stripped!r:.60}. {fix}")
        if len(first) == len(_CONLLU) and (path.suffix.lower() == ".conllu" or first[0] in ("1", "1-2")):
            header = header or _CONLLU
        names = _names(len(first), header if len(header) == len(first) else ())
        return replace(layout, columns=len(first), names=names, numbered="id" in names)
    return None


def _word_lines(path: Path, name: str, layout: _Layout) -> Iterator[tuple[int, list[str] | None, int]]:
    """Number and cells of each line with a word, and the line where its document begins; None for the cells where a
    sentence ends."""
    tags: frozenset[str] | None = None
    document = 1
    for number, line, kind in _lines(path, name):
        if kind in ("end", "document"):
            document = number if kind == "document" else document
            yield number, None, document
            continue
        cells = layout.cells(line)
        if kind == "maybe comment":
            if layout.numbered or len(cells) != layout.columns or not all(cells):
                continue
            if tags is None:  # a word has a tag that other words have, too
                tags = frozenset(layout.cells(word)[-1] for _, word, kind in _lines(path, name) if kind == "word")
            if cells[-1] not in tags:
                continue
        _check(cells, line, layout, place=f"{name}:{number}")
        if not (layout.numbered and ("-" in cells[0] or "." in cells[0])):
            yield number, cells, document


def _lines(path: Path, name: str) -> Iterator[tuple[int, str, Literal["word", "maybe comment", "end", "document"]]]:
    """All lines with their numbers. One that begins with `#` before the first word of a sentence may be a comment."""
    in_sentence = False
    for number, line in enumerate(text_lines(path, name, translate=True), 1):
        stripped = line.strip(_BLANK)
        if not stripped:
            in_sentence = False
            yield number, line, "end"
        elif _SPACES.split(stripped, maxsplit=1)[0] == _DOCUMENT or (
            not in_sentence and _DOCUMENT_COMMENT.fullmatch(line)
        ):
            in_sentence = False
            yield number, line, "document"
        elif line.startswith("#") and not in_sentence:
            yield number, line, "maybe comment"
        else:
            in_sentence = True
            yield number, line, "word"


def _check(cells: Sequence[str], line: str, layout: _Layout, *, place: str) -> None:
    """
    Raises:
        DataError: more or fewer columns than in the first line, an empty cell, or no number where words have one.
    """
    if len(cells) != layout.columns:
        counted = "one column" if len(cells) == 1 else f"{len(cells)} columns"
        fix = "All lines of a file must have the same columns."
        fault = f"{counted} where the first line has {layout.columns}: {line.strip(_BLANK)!r:.60}."
        raise DataError(f"{place}: {fault} {fix}")
    if not all(cells):
        raise DataError(f"{place}: an empty word or tag: {line.rstrip()!r:.60}. Fill it in.")
    if layout.numbered and not _WORD_NUMBER.fullmatch(cells[0]):
        raise DataError(f"{place}: {cells[0]!r:.20} is not the number of a word, as in CoNLL-U. Correct it.")


def _names(columns: int, header: Sequence[str]) -> dict[str, int]:
    """Name -> index of its column; words and tags are the first and the last one, unless the header says more."""
    index_of = {column: index for index, column in enumerate(header)}
    return {
        WORDS: index_of.get("form", 0),
        TAGS: index_of.get("upos", columns - 1),
        **{str(number): number - 1 for number in range(1, columns + 1)},
        **index_of,
    }


def _record(lines: Sequence[Sequence[str]], names: Mapping[str, int], *, document: str) -> dict[str, object]:
    by_column = [list(cells) for cells in zip(*lines, strict=True)]
    return {DOCUMENT: document, **{column: by_column[index] for column, index in names.items()}}

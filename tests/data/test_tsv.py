"""Quotation marks in TSV files: text, marks around cells, or a question to the user; no line is lost without a word."""

from __future__ import annotations

import contextlib
import csv
import io
from pathlib import Path
from typing import Any

import pytest
from facts import facts
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.data.fields import Fields
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.recipe.blocks import ColumnType

COLUMN_TYPES: dict[str, ColumnType] = {"text": "text", "label": "label"}


def read(path: Path, column_types: dict[str, ColumnType] = COLUMN_TYPES, **options: Any) -> list[tuple[str, ...]]:
    rows = open_rows([str(path)], Fields(column_types=column_types), keep_empty=True, **options)
    return [tuple(row.fields[field] for field in column_types) for row in rows]


def written(folder: Path, content: str, name: str = "a.tsv") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property; each overwrites its file."""
    return tmp_path_factory.mktemp("tsv")


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\t\r\n"), min_size=1).filter(str.strip)
quotish = st.text('"ab ', min_size=1).filter(str.strip)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(cells | quotish, cells | quotish), min_size=1), line_end=st.sampled_from(["\n", "\r\n"]))
def test_unquoted_lines_read_as_they_stand_or_are_refused(
    folder: Path, rows: list[tuple[str, str]], line_end: str
) -> None:
    path = written(folder, "".join(f"{a}\t{b}{line_end}" for a, b in [("text", "label"), *rows]))
    assert read(path, quoting="none") == rows
    with contextlib.suppress(DataError):
        found = read(path)
        # A file that is, to the last quote, what csv.writer writes for other rows is taken for those.
        assert found == rows or _is_the_writers(path, found, line_end)


def _is_the_writers(path: Path, rows: list[tuple[str, ...]], line_end: str) -> bool:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, dialect="excel-tab", lineterminator=line_end).writerows([("text", "label"), *rows])
    return path.read_bytes() == buffer.getvalue().encode()


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(cells | quotish, cells | quotish), min_size=1),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_the_csv_writer_writes_of_single_lines_reads_back_equal(
    folder: Path, rows: list[tuple[str, str]], quoting: int, line_end: str
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter="\t", lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("text", "label"), *rows])
    path = written(folder, buffer.getvalue())
    assert read(path) == rows
    assert read(path, quoting="csv") == rows


def test_cells_with_tabs_and_line_ends_read_back_equal(tmp_path: Path) -> None:
    rows = [("one\nand two", "x"), ("a\tb", "y"), ('say "hi"', "z"), ('"', "w"), ("para\n\npara", "v")]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, dialect="excel-tab").writerows([("text", "label"), *rows])
    assert read(written(tmp_path, buffer.getvalue())) == rows


@pytest.mark.parametrize(
    "text",
    [
        '"I said it twice.',
        '"Good morning", he said.',
        '"',
        '5" disk',
        '""doubled"" twice',
        'he said "no"',
        '"a"b"',
        ' "a"',
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_quote_that_encloses_no_cell_is_text_and_swallows_no_line(tmp_path: Path, text: str, last: bool) -> None:
    columns, row = ("label\ttext", f"good\t{text}") if last else ("text\tlabel", f"{text}\tgood")
    other = "bad\tfine" if last else "fine\tbad"
    path = written(tmp_path, f"\ufeff{columns}\r\n{other}\r\n\r\n{row}\r\n{other}\r\n")
    assert read(path) == [("fine", "bad"), (text, "good"), ("fine", "bad")]


AMBIGUOUS = {
    "a whole cell": ('label\ttext\nbad\tfine\ngood\t"All quiet."\nbad\tfine\n', 3),
    "across lines": ('label\ttext\nbad\tfine\nbad\t"I said\ngood\tfine\nbad\tso."\n', 3),
    "an empty pair": ('text\tlabel\n""\tgood\n', 2),
    "a quote that the writer would double": ('text\tlabel\n5" disk\tbad\n"a ""b"""\tgood\n', 3),
}


@pytest.mark.parametrize(("content", "line"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_two_readings_that_differ_are_refused_with_the_line_and_the_key(
    tmp_path: Path, content: str, line: int
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read(path)
    message = str(caught.value)
    assert f"a.tsv:{line}: " in message
    assert "data.quoting" in message
    assert "--quoting" in message
    lines = [tuple(line.split("\t")) for line in content.splitlines()]
    swap = lines[0] == ("label", "text")
    assert read(path, quoting="none") == [row[::-1] if swap else row for row in lines[1:]]
    with path.open(newline="") as file:
        enclosed = [tuple(row) for row in csv.reader(file, delimiter="\t")]
    assert read(path, quoting="csv") == [row[::-1] if swap else row for row in enclosed[1:]]


def test_names_of_columns_in_quotes_make_a_file_quoted(tmp_path: Path) -> None:
    path = written(tmp_path, '"text"\t"label"\n"All quiet."\t"good"\nplain\t1\n')
    assert read(path) == [("All quiet.", "good"), ("plain", "1")]


def test_a_file_that_can_be_read_in_neither_way_names_the_line_of_the_reading_that_got_further(tmp_path: Path) -> None:
    quoted_further = written(tmp_path, 'text\tlabel\n"a\tb"\tgood\nfine\tgood\n"x" y\tgood\n')
    with pytest.raises(DataError, match=facts("a.tsv:4:", "closing", "quote")):
        read(quoted_further)
    unquoted_further = written(tmp_path, 'text\tlabel\n"x" y\tgood\nfine\tgood\nfine\tgood\tbad\n')
    with pytest.raises(DataError, match=facts("a.tsv:4:", "3 cells", 2)):
        read(unquoted_further)


def test_one_column_keeps_its_lines(tmp_path: Path) -> None:
    path = written(tmp_path, 'text\n"Never closed\nfine\n')
    assert read(path, {"text": "text"}) == [('"Never closed',), ("fine",)]


def test_a_csv_file_is_quoted_unless_the_recipe_says_otherwise(tmp_path: Path) -> None:
    path = written(tmp_path, 'text,label\n"All quiet.",good\n', name="a.csv")
    assert read(path) == read(path, quoting="csv") == [("All quiet.", "good")]
    assert read(path, quoting="none") == [('"All quiet."', "good")]

"""The file formats, and the readers of CSV, TSV and plain text: each turns one file into numbered records.

Every CSV or TSV cell is text. Knows nothing about the task's columns, labels or empty rows; `rows.py` checks the values.
`json_lines.py`, `json_files.py`, `parquet_files.py` and `conll.py` read the other formats.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from llmkit.data.files import MAX_LINE_CHARACTERS, text_lines
from llmkit.errors import DataError
from llmkit.recipe.blocks import TextUnit

Format = Literal["csv", "tsv", "jsonl", "parquet", "text", "conll", "json"]
InputUnit = TextUnit | Literal["every line", "input"]
"""Unit of a row in a plain-text file: also each line, blank or not, or the whole file without its final line end."""


class BadRecord(NamedTuple):
    """A record that cannot be read; those after it can be."""

    fault: str
    """What is wrong, for people."""
    reason: str
    """The same for all records with such a fault, for counts."""
    content: object
    """As found in the file."""


Record = tuple[int, Mapping[str, object] | BadRecord]
"""The line where the record starts, or the index of its row in a format without lines; values by column."""

FORMATS: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".conll": "conll",
    ".conllu": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".iob2": "conll",
}
COMPRESSED = ".gz"
"""After the extension of a text format: the file is compressed with gzip."""


def format_of(path: Path) -> Format | None:
    """The format by the extension of the file's name, such as `.csv` or `.csv.gz`; None for an unknown one."""
    name = path.name.lower()
    plain = Path(name.removesuffix(COMPRESSED))
    file_format = FORMATS.get(plain.suffix)
    return None if file_format == "parquet" and name.endswith(COMPRESSED) else file_format


_SHOWN = 80


def read_csv(path: Path, name: str, *, delimiter: str, quoted: bool = True) -> Iterator[tuple[int, list[str]]]:
    """The first line of each row, and its cells; the first row is the header. Blank lines are skipped.

    Args:
        quoted: whether quotes delimit cells; otherwise they are text, and each line is a row.
    Raises:
        DataError: also a quote that is never closed, or is followed by text, with the first line of the row.
    """
    csv.field_size_limit(MAX_LINE_CHARACTERS)  # for the whole process; the default of 128 KiB is too small for articles
    start = 1
    lines = text_lines(path, name, translate=False)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{name}:{start}: {_csv_fault(error)}") from error


def take_header(rows: Iterator[tuple[int, list[str]]], name: str) -> list[str]:
    """The cells of the first row, empty if there is no row. Spreadsheets write columns without a name, which are ''."""
    line, header = next((row for row in rows if any(cell.strip() for cell in row[1])), (1, []))
    header = [cell if cell.strip() else "" for cell in header]
    repeated = repeated_name([cell for cell in header if cell])
    if repeated is not None:
        raise DataError(f"{name}:{line}: two columns are named {repeated!r}. Rename one of them.")
    return header


def header_width(header: Sequence[str]) -> int:
    """The number of columns up to the last one with a name."""
    return max((index for index, cell in enumerate(header, 1) if cell.strip()), default=0)


def fits_header(cells: Sequence[str], width: int) -> bool:
    """Whether a row has a cell for each column, and only empty cells after them; or only empty cells."""
    return not any(cell.strip() for cell in (cells[width:] if len(cells) >= width else cells))


def with_header(rows: Iterator[tuple[int, list[str]]], name: str) -> Iterator[Record]:
    """Rows of cells as records, by the names in the first row.

    Spreadsheets write empty cells after the last column. A cell there that is not empty is a bad record.
    """
    header = take_header(rows, name)
    width = header_width(header)
    for number, cells in rows:
        if fits_header(cells, width):
            padded = [*cells, *[""] * (width - len(cells))]
            yield number, {column: cell for column, cell in zip(header, padded, strict=False) if column}
        else:
            yield number, _other_width(cells, width)


def _other_width(cells: list[str], width: int) -> BadRecord:
    fix = "Quote cells that contain the delimiter."
    if len(cells) > width:
        last = max(index for index, cell in enumerate(cells) if cell.strip())
        fix = f"Cell {last + 1}, {cells[last]!r:.40}, has no column. {fix}"
    fault = f"{len(cells)} cells where the header has {width}: {_shortened(cells)}. {fix}"
    return BadRecord(fault, "another number of cells than the header", cells)


def first_keys(records: Iterator[Record]) -> list[str]:
    """The keys of the first record that can be read and has any; empty if there is none."""
    return next((list(values) for _, values in records if values and not isinstance(values, BadRecord)), [])


def good_records(records: Iterator[Record], place: Callable[[int], str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    """The records of a file in which none may be bad.

    Raises:
        DataError: one cannot be read.
    """
    for number, values in records:
        if isinstance(values, BadRecord):
            raise DataError(f"{place(number)}: {values.fault}")
        yield number, values


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _csv_fault(error: csv.Error) -> str:
    if "unexpected end" in str(error) or "field larger" in str(error):
        return 'a quote opened in this row is never closed. Close it, or double a quote that is part of the text ("").'
    if "expected after" in str(error):
        return 'text follows a closing quote in this row. Double a quote that is part of the text ("").'
    return f"not valid CSV ({error})."


def repeated_name(names: Sequence[str]) -> str | None:
    """The first name that occurs a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def read_text(path: Path, name: str, *, column: str, unit: InputUnit) -> Iterator[Record]:
    """Each non-blank line, or the text between blank lines, without the last line break; or the whole file.

    Line breaks are LF; the number of a document is that of its first line.
    """
    lines = text_lines(path, name, translate=True)
    if unit == "every line" or unit == "input":
        yield from ((number, {column: text}) for number, text in input_texts(lines, by_line=unit == "every line"))
        return
    if unit == "file":
        document = "".join(lines)
        if document:
            yield 1, {column: document}
        return
    document_lines: list[str] = []
    first = 1
    for number, line in enumerate(lines, 1):
        if document_lines and (unit == "line" or not line.strip()):
            yield first, {column: "".join(document_lines).removesuffix("\n")}
            document_lines = []
        if line.strip():
            first = first if document_lines else number
            document_lines.append(line)
    if document_lines:
        yield first, {column: "".join(document_lines).removesuffix("\n")}


def input_texts(lines: Iterable[str], *, by_line: bool) -> Iterator[tuple[int, str]]:
    """The texts of plain text that a model is used on, each with the number of its first line.

    Each line, blank ones too, without its line end; or all lines as one text, without the final line end.

    Args:
        lines: with LF as line ends, without a byte order mark.
    """
    if by_line:
        yield from ((number, line.removesuffix("\n")) for number, line in enumerate(lines, 1))
        return
    whole = "".join(lines)
    if whole:
        yield 1, whole.removesuffix("\n")

"""The meaning of quotes in a TSV file: they delimit cells, as in CSV, or are ordinary characters.

Both are in use, and no file states which one it uses. Each function reads the file as a stream.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from llmkit.data.files import text_lines
from llmkit.data.readers import fits_header, header_width, read_csv
from llmkit.errors import DataError


def tsv_is_quoted(path: Path, name: str) -> bool:
    """Whether quotes delimit cells of a TSV file.

    A file can be parsed with or without quoting if each of its rows then has as many cells as its header. If only one
    way is possible, it is used. If both are, the file is quoted if a column name is quoted, or if each line is what
    Python's `csv.writer` writes for its row.

    Returns:
        True also if no cell starts with a quote, and both ways give the same result.
    Raises:
        DataError: both ways are possible and differ; the message gives the first line where they do.
    """
    header = _header_if_quotes_matter(path, name)
    if header is None or any(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in header):
        return True
    breaks_unquoted, breaks_quoted = (_broken_line(path, name, quoted=quoted) for quoted in (False, True))
    if math.inf not in (breaks_unquoted, breaks_quoted):
        return breaks_quoted >= breaks_unquoted  # neither way works; the error is that of the one that got further
    if breaks_unquoted != breaks_quoted:
        return breaks_quoted > breaks_unquoted
    line = _first_line_in_doubt(path, name)
    if line is None:
        return True
    raise DataError(
        f"{name}:{line}: a cell starts with a quote, which may be text or open a quoted cell: the file can be parsed in "
        "both ways, with different results from this line on. In the recipe write data.quoting: none (quotes are text) "
        "or csv (quotes delimit cells); a command has the option --quoting."
    )


def _header_if_quotes_matter(path: Path, name: str) -> list[str] | None:
    """The cells of the first line, quotes included; None if no cell of the file begins with a quote."""
    header: list[str] | None = None
    quotes_matter = False
    for line in text_lines(path, name, translate=False):  # all lines, so that a file that is not text is reported here
        header = line.rstrip("\r\n").split("\t") if header is None and line.strip("\r\n") else header
        quotes_matter = quotes_matter or ('"' in line and (line[0] == '"' or '\t"' in line))
    return header if quotes_matter else None


def _broken_line(path: Path, name: str, *, quoted: bool) -> float:
    """The line of the first row that cannot be parsed or has not as many cells as the header; else infinity."""
    line = width = 0
    try:
        for line, cells in read_csv(path, name, delimiter="\t", quoted=quoted):
            width = width or header_width(cells)
            if not fits_header(cells, width):
                return line
    except DataError:
        return line + 1  # the row after the last good one
    return math.inf


def _first_line_in_doubt(path: Path, name: str) -> int | None:
    """The first line that the two ways parse differently; None if all lines are as `csv.writer` writes them."""
    first: int | None = None
    as_csv_writer = True
    parsers = (read_csv(path, name, delimiter="\t", quoted=quoted) for quoted in (False, True))
    for (line, unquoted), (_, quoted) in zip(*parsers, strict=False):
        if first is None and unquoted != quoted:
            first = line
        as_csv_writer = as_csv_writer and _is_csv_writer_line(quoted, "\t".join(unquoted))
        if first is not None and not as_csv_writer:
            return first
    return None


def _is_csv_writer_line(cells: Sequence[str], line: str) -> bool:
    """Whether `csv.writer` writes these cells as this line; a cell with a line break needs several lines."""
    if '"' not in line:
        return True
    written = io.StringIO(newline="")
    csv.writer(written, dialect="excel-tab", lineterminator="").writerow(cells)
    return written.getvalue() == line

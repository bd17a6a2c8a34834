"""A damaged Parquet file is an error with its name, soon and without much memory, whatever its footer claims."""

from __future__ import annotations

import io
import resource
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import facts

from llmkit.data.fields import Fields
from llmkit.data.sources import open_rows
from llmkit.data.vectors import open_vectors
from llmkit.errors import DataError

ROWS = 12_345


@pytest.fixture(scope="module")
def content() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": [f"text {number % 7}" for number in range(ROWS)]}), buffer)
    return buffer.getvalue()


def _varint(number: int) -> bytes:
    """A signed number as the footer has it: zigzag, seven bits a byte."""
    number *= 2
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def _with_footer(content: bytes, old: bytes, new: bytes) -> bytes:
    size = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - size : -8]
    assert old in footer
    footer = footer.replace(old, new)
    return content[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def _read(path: Path) -> int:
    return len(list(open_rows([str(path)], Fields(column_types={"text": "text"}))))


@pytest.mark.parametrize("claimed", [2**60, 2**31, ROWS + 1])
def test_a_footer_that_claims_another_number_of_rows_is_an_error_that_takes_no_memory(
    tmp_path: Path, content: bytes, claimed: int
) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(_with_footer(content, _varint(ROWS), _varint(claimed)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=facts("a.parquet")):
        _read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


@pytest.mark.parametrize("name", [b"te\xf9t", b"\xfe\xffxt", b"tex\xf4"])
def test_a_column_name_that_is_not_utf8_is_an_error(tmp_path: Path, content: bytes, name: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content[:-1000] + content[-1000:].replace(b"text", name))
    with pytest.raises(DataError, match=facts("a.parquet")):
        _read(path)
    with pytest.raises(DataError, match=facts("a.parquet")):
        open_vectors(path)


def test_a_file_cut_or_changed_anywhere_in_its_footer_never_ends_in_another_error(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), path)
    content = path.read_bytes()
    size = int.from_bytes(content[-8:-4], "little") + 8
    for place in range(len(content) - size, len(content), 5):
        for damaged in (content[:place], content[:place] + b"\xff\xff\xff\x7f" + content[place + 4 :]):
            path.write_bytes(damaged)
            with suppress(DataError):
                assert _read(path) <= 3

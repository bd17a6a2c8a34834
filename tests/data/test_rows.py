"""Rows come out as they were written, and nothing is passed over without a word."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import facts, logged
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.data.fields import Fields
from llmkit.data.rows import Row
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.recipe.blocks import ColumnType

COLUMN_TYPES: dict[str, ColumnType] = {"text": "text", "label": "label"}
TEXT: dict[str, ColumnType] = {"text": "text"}

# Not blank; NUL is refused, and a lone surrogate cannot be written as UTF-8.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)


def _rows(path: Path, column_types: dict[str, ColumnType] = COLUMN_TYPES, **options: Any) -> list[Row]:
    return list(open_rows([str(path)], Fields(column_types=column_types), **options))


def _written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property; each overwrites its file."""
    return tmp_path_factory.mktemp("rows")


@settings(deadline=None)
@given(rows=st.lists(st.tuples(texts, texts), min_size=1), line_end=st.sampled_from(["\n", "\r\n", "\r"]))
@pytest.mark.parametrize(("extension", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_what_the_csv_writer_writes_reads_back_equal(
    folder: Path, extension: str, delimiter: str, rows: list[tuple[str, str]], line_end: str
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *rows])
    path = _written(folder, f"a.{extension}", buffer.getvalue())
    assert [(row.fields["text"], row.fields["label"]) for row in _rows(path)] == rows


@settings(deadline=None)
@given(rows=st.lists(st.tuples(texts, texts), min_size=1), ascii_only=st.booleans())
def test_what_json_writes_reads_back_equal(folder: Path, rows: list[tuple[str, str]], ascii_only: bool) -> None:
    objects = [{"text": text, "label": label} for text, label in rows]
    content = "".join(json.dumps(each, ensure_ascii=ascii_only) + "\n" for each in objects)
    path = _written(folder, "a.jsonl", content)
    assert [row.fields for row in _rows(path)] == objects


@settings(deadline=None, max_examples=150)
@given(content=st.binary() | st.text().map(str.encode) | st.text('{}[]":,\n\r text\\label1').map(str.encode))
@pytest.mark.parametrize("name", ["any.csv", "any.tsv", "any.jsonl", "any.txt", "any.parquet"])
def test_arbitrary_bytes_give_rows_or_a_data_error(folder: Path, name: str, content: bytes) -> None:
    head = b"text,label\n" if name == "any.csv" else b""
    path = _written(folder, name, head + content)
    with suppress(DataError):
        assert all(row.fields["text"].strip() for row in _rows(path, TEXT))


@pytest.mark.parametrize(
    "cell", ["007", "NA", "null", "1e5", "True", "None", "nan", "-0", "1,5", " x ", "100000000000000000000"]
)
def test_a_csv_cell_stays_the_text_it_is(cell: str, tmp_path: Path) -> None:
    path = _written(tmp_path, "a.csv", f'text,label\n"{cell}","{cell}"\n')
    assert _rows(path)[0].fields == {"text": cell, "label": cell}


@pytest.mark.parametrize(
    ("value", "label"),
    [("1", "1"), ("true", "true"), ("false", "false"), ('"1"', "1"), ("100000000000000000000", "1" + "0" * 20)],
)
def test_a_json_label_may_be_text_a_whole_number_or_a_truth_value(value: str, label: str, tmp_path: Path) -> None:
    path = _written(tmp_path, "a.jsonl", f'{{"text": "a", "label": {value}}}\n')
    assert _rows(path)[0].fields["label"] == label


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "text,label\nhé,x\n"), ("a.jsonl", '{"text": "hé", "label": "x"}'), ("a.tsv", "text\tlabel\nhé\tx")],
)
def test_a_byte_order_mark_is_dropped(name: str, content: str, tmp_path: Path) -> None:
    path = _written(tmp_path, name, b"\xef\xbb\xbf" + content.encode())
    assert _rows(path)[0].fields == {"text": "hé", "label": "x"}


def test_only_lf_crlf_and_cr_end_a_line_of_text(tmp_path: Path) -> None:
    odd = "a\u2028b\x0bc\x0cd\x85e\x1cf"
    path = _written(tmp_path, "a.txt", f"\ufeff{odd}\r\none\rtwo\n\n \nthree")
    rows = _rows(path, TEXT)
    assert [row.fields["text"] for row in rows] == [odd, "one", "two", "three"]
    assert [row.place for row in rows] == [f"{path.as_posix()}:{line}" for line in (1, 2, 3, 6)]


def test_a_text_file_can_be_one_document(tmp_path: Path) -> None:
    path = _written(tmp_path, "a.md", "\ufeff# Title\r\n\r\nOne.\r\n\r\nTwo.\r\n")
    assert [row.fields["text"] for row in _rows(path, TEXT, text_files="file")] == ["# Title\n\nOne.\n\nTwo.\n"]


def test_documents_of_a_text_file_stand_between_blank_lines_and_are_numbered_by_their_first(tmp_path: Path) -> None:
    content = "\ufeff\r\n \none\r\n  two\rthree\n\n\t\n\u3000\nfour\n\u2028x\n\nfive"
    path = _written(tmp_path, "a.txt", content)
    rows = _rows(path, TEXT, text_files="document")
    assert [row.fields["text"] for row in rows] == ["one\n  two\nthree", "four\n\u2028x", "five"]
    assert [row.place for row in rows] == [f"{path.as_posix()}:{line}" for line in (3, 9, 12)]


@settings(deadline=None)
@given(lines=st.lists(st.sampled_from(["", " ", "\t ", "a", " b", "c "])), last=st.sampled_from(["", "\n"]))
def test_documents_lose_no_line_but_the_blank_ones(folder: Path, lines: list[str], last: str) -> None:
    path = _written(folder, "documents.txt", "\n".join(lines) + last)
    wanted = [line for line in lines if line.strip()]
    rows = _rows(path, TEXT, text_files="document") if wanted else []
    assert [line for row in rows for line in row.fields["text"].split("\n")] == wanted
    for row in rows:
        first = int(row.place.rpartition(":")[2]) - 1
        held = row.fields["text"].split("\n")
        assert lines[first : first + len(held)] == held
        assert not first or not lines[first - 1].strip()
        assert not "".join(lines[first + len(held) :][:1]).strip()


def test_the_place_is_the_line_where_the_record_starts(tmp_path: Path) -> None:
    path = _written(tmp_path, "a.csv", 'text,label\n"one\ntwo",x\n\nthree,y\n')
    assert [row.place for row in _rows(path)] == [f"{path.as_posix()}:2", f"{path.as_posix()}:5"]


def test_rows_with_an_empty_text_are_counted_and_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _written(tmp_path, "a.csv", 'text,label\na,x\n,x\nb,x\n" \t",x\n')
    source = open_rows([str(path)], Fields(column_types=COLUMN_TYPES))
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        assert len(list(source)) == len(list(source)) == 2
    assert list(source.skipped.values()) == [2]
    assert len(caplog.records) == len(logged(caplog, "WARNING", path.as_posix(), 2, "text", "lines 3, 5")) == 1


def test_max_rows_counts_usable_rows_over_all_files(tmp_path: Path) -> None:
    _written(tmp_path, "a.csv", "text,label\na,x\n,x\nb,x\n")
    _written(tmp_path, "b.csv", "text,label\nc,x\nd,x\n")
    source = open_rows([str(tmp_path)], Fields(column_types=COLUMN_TYPES), max_rows=3)
    assert [row.fields["text"] for row in source] == ["a", "b", "c"]
    assert [each["rows"] for each in source.fingerprint()] == [2, 1]


def test_a_folder_gives_its_known_files_sorted_and_no_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", ".hidden.csv"):
        _written(tmp_path, name, f"text,label\n{name},x\n")
    _written(tmp_path, "README.rst", "no data")
    (tmp_path / "below").mkdir()
    _written(tmp_path / "below", "c.csv", "text,label\nc,x\n")
    names = [row.fields["text"] for row in _rows(tmp_path)]
    assert names == ["a.csv", "b.csv"]
    everywhere = open_rows([f"{tmp_path}/**/*.csv"], Fields(column_types=COLUMN_TYPES))
    assert [row.fields["text"] for row in everywhere] == ["a.csv", "b.csv", "c"]


def test_a_file_whose_name_looks_like_a_glob_is_read_itself(tmp_path: Path) -> None:
    path = _written(tmp_path, "[a].csv", "text,label\nbrackets,x\n")
    _written(tmp_path, "a.csv", "text,label\nplain,x\n")
    assert [row.fields["text"] for row in _rows(path)] == ["brackets"]


def test_columns_map_roles_to_names(tmp_path: Path) -> None:
    path = _written(tmp_path, "a.csv", "id,body,stars\n1,good,5\n")
    source = open_rows([str(path)], Fields(column_types=COLUMN_TYPES, columns={"text": "body", "label": "stars"}))
    assert [row.fields for row in source] == [{"text": "good", "label": "5"}]


def test_parquet_gives_text_and_labels_over_row_groups(tmp_path: Path) -> None:
    table = pa.table(
        {"text": [f"row {n}" for n in range(5000)], "label": [n % 2 for n in range(5000)], "x": [0.5] * 5000}
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    rows = _rows(tmp_path / "a.parquet")
    assert [row.fields for row in rows] == [{"text": f"row {n}", "label": str(n % 2)} for n in range(5000)]
    assert rows[4321].place == f"{tmp_path.as_posix()}/a.parquet[4321]"


@pytest.mark.parametrize(
    ("column", "stated"),
    [
        (pa.array([1, 2]), ["a.parquet[0]:", "'text'", 1]),
        (pa.array([b"a", b"b"]), ["a.parquet[0]:", "'text'", "bytes"]),
        (pa.array([b"a", b"\xff"]).view(pa.string()), ["a.parquet:", "damaged"]),
    ],
)
def test_parquet_texts_of_another_type_are_refused(column: pa.Array, stated: list[object], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=facts(*stated)):
        _rows(tmp_path / "a.parquet", TEXT)


def test_the_fingerprint_names_bytes_hash_rows_and_columns(tmp_path: Path) -> None:
    path = _written(tmp_path, "a.csv", "text,label\na,x\n")
    [found] = open_rows([str(path)], Fields(column_types=COLUMN_TYPES)).fingerprint()
    assert found == {
        "name": path.as_posix(),
        "bytes": 15,
        "sha256": hashlib.sha256(b"text,label\na,x\n").hexdigest(),
        "rows": 1,
        "columns": ["text", "label"],
    }


@pytest.mark.parametrize("name", ["big.csv", "big.jsonl", "big.txt", "big.parquet"])
def test_a_large_file_is_streamed(name: str, tmp_path: Path) -> None:
    texts = [f"{n} " + "word " * 200 for n in range(20_000)]  # 20 MB
    if name == "big.parquet":
        pq.write_table(pa.table({"text": texts}), tmp_path / name, row_group_size=1000, compression="none")
    else:
        line = (lambda text: json.dumps({"text": text})) if name == "big.jsonl" else (lambda text: text)
        _written(tmp_path, name, "text\n" * (name == "big.csv") + "\n".join(map(line, texts)))
    tracemalloc.start()
    try:
        source = open_rows([str(tmp_path / name)], Fields(column_types=TEXT))
        assert len(list(islice(source, 10))) == 10
        assert sum(1 for _ in source) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_importing_the_sources_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'pyarrow', 'huggingface_hub'}"
    code = f"import sys, llmkit.data.sources; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

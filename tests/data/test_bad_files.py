"""Files that must be refused, each with the place of the fault and a word on what to do."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from facts import facts, says

from llmkit.data.fields import Fields
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.recipe.blocks import ColumnType

COLUMN_TYPES: dict[str, ColumnType] = {"text": "text", "label": "label"}
HEADER = b"text,label\n"


def _zip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("reviews.csv", content)
    return buffer.getvalue()


def _tar(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("reviews.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _read(*sources: str) -> list[dict[str, str]]:
    return [row.fields for row in open_rows(sources, Fields(column_types=COLUMN_TYPES))]


BAD_FILES = [
    # name, content, facts that the message states; the first is the place
    ("a.csv", b"", ["a.csv:", 0, "rows"]),
    ("a.csv", b"\n\r\n\n", ["a.csv:", 0, "rows"]),
    ("a.csv", HEADER, ["a.csv:", 0, "rows"]),
    ("a.csv", HEADER + b" ,x\n,y\n", ["a.csv:", 0, 2, "rows"]),
    ("a.jsonl", b"", ["a.jsonl:", 0, "rows"]),
    ("a.jsonl", b"\n\n", ["a.jsonl:", 0, "rows"]),
    ("a.csv", HEADER + b"ok,x\ncaf\xe9,y\n", ["a.csv:3:", "0xE9", 19, "UTF-8"]),
    ("a.csv", HEADER + b"ok,x\r\rcaf\xe9,y\n", ["a.csv:4:", "0xE9", 20, "UTF-8"]),
    ("a.jsonl", b'{"text": "a", "label": "x"}\n{"text": "\xff"}\n', ["a.jsonl:2:", "0xFF", 38, "UTF-8"]),
    ("a.csv", HEADER + b"x" * 3_000_000 + b",a\n\xc3", ["a.csv:3:", "0xC3", 3000014, "UTF-8"]),
    ("a.csv", "text,label\na,b\n".encode("utf-16-be"), ["a.csv:", "UTF-16", "UTF-8"]),
    ("a.jsonl", '{"text": "a"}'.encode("utf-16-le"), ["a.jsonl:", "UTF-16"]),
    ("a.csv", HEADER + b"a\0b,x\n", ["a.csv:2:", "NUL"]),
    ("a.csv", b"i\0d,text,label\n1,a,x\n", ["a.csv:1:", "NUL"]),
    # The first byte of the é is the last one of the first MiB, which the search reads at a time.
    (
        "a.csv",
        HEADER + b"x" * (2**20 - 12) + b"\xc3\xa9,a\n" + b"y" * 2**20 + b"\xff",
        ["a.csv:3:", "0xFF", 2097156, "UTF-8"],
    ),
    ("a.jsonl", b'{"text": "a\\u0000b", "label": "x"}\n', ["a.jsonl:1:", "'text'", "NUL"]),
    ("a.jsonl", b'{"text": "\\ud800", "label": "x"}\n', ["a.jsonl:1:", "'text'", "surrogate"]),
    ("a.csv", b"text,text\na,b\n", ["a.csv:1:", "'text'"]),
    ("a.jsonl", b'{"text": "a", "label": "x", "text": "b"}\n', ["a.jsonl:1:", "'text'", "twice"]),
    ("a.csv", b"text;label\na;b\n", ["a.csv:", "'text;label'", "semicolons"]),
    ("a.csv", b"text\tlabel\na\tb\n", ["a.csv:", r"'text\tlabel'", ".tsv"]),
    ("a.tsv", b"text,label\na,b\n", ["a.tsv:", "commas", ".csv"]),
    ("a.csv", b"body,label\na,b\n", ["a.csv:", "'text'", "'body', 'label'", 'data.columns: {text: "body"}']),
    ("a.csv", b"id,texts,label\n1,a,b\n", ["a.csv:", "'texts'", 'data.columns: {text: "texts"}']),
    ("a.jsonl", b'{"text": "a", "label": "b"}\n{"text": "a"}\n', ["a.jsonl:2:", "'label'", "'text'"]),
    ("a.csv", HEADER + b"a,x\nb,y,z\n", ["a.csv:3:", "3 cells", 2]),
    ("a.csv", HEADER + b"a\n", ["a.csv:2:", "1 cell", 2]),
    ("a.csv", HEADER + b'"two\nlines",x\n"open,y\nrest,z\n', ["a.csv:4:", "quote", "closed"]),
    ("a.csv", HEADER + b'"a"b,y\n', ["a.csv:2:", "closing", "quote"]),
    ("a.csv", HEADER + b"a,\n", ["a.csv:2:", "'label'", "empty"]),
    ("a.jsonl", b'{"text": "a", "label": "x"}\n{"text": "b", "la', ["a.jsonl:2:", "JSON"]),
    ("a.jsonl", b"17\n", ["a.jsonl:1:", 17, "object"]),
    ("a.jsonl", b'[{"text": "a"}]\n', ["a.jsonl:1:", "array", "object"]),
    ("a.jsonl", b"null\n", ["a.jsonl:1:", "null", "object"]),
    ("a.jsonl", b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}\n", ["a.jsonl:1:", 100]),
    ("a.jsonl", b"[" * 5_000_000 + b"\n", ["a.jsonl:1:", 100]),
    ("a.jsonl", b'{"text": "a", "label": NaN}\n', ["a.jsonl:1:", "NaN"]),
    ("a.jsonl", b'{"text": "a", "label": -Infinity}\n', ["a.jsonl:1:", "-Infinity"]),
    ("a.jsonl", b'{"text": "a", "label": 1.5}\n', ["a.jsonl:1:", "'label'", "1.5", '"1.5"']),
    ("a.jsonl", b'{"text": "a", "label": 1' + b"0" * 5000 + b"}\n", ["a.jsonl:1:", 5001, "digits"]),
    ("a.jsonl", b'{"text": 7, "label": "x"}\n', ["a.jsonl:1:", "'text'", 7, '"7"']),
    ("a.jsonl", b'{"text": null, "label": "x"}\n', ["a.jsonl:1:", "'text'", "null"]),
    ("a.jsonl", b'{"text": "a", "label": null}\n', ["a.jsonl:1:", "'label'", "null"]),
    (
        "a.jsonl",
        b'{"text": "a", "label": 1}\n{"text": "b", "label": "pos"}\n',
        ["a.jsonl:2:", "'label'", "text", "type"],
    ),
    ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": true}\n', ["a.jsonl:2:", "'label'", "true"]),
    ("a.csv", gzip.compress(HEADER, mtime=0), ["a.csv:", "gzip"]),
    ("a.csv", _zip(HEADER), ["a.csv:", " zip"]),
    ("a.csv", _tar(HEADER), ["a.csv:", "tar"]),
    ("a.jsonl", b"PAR1....", ["a.jsonl:", "Parquet"]),
    ("a.csv", b"\x80\x04\x95abc", ["a.csv:", "pickle"]),
    ("a.csv", b"<!DOCTYPE html><html>", ["a.csv:", "web page"]),
    ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", ["a.csv:", "git lfs pull"]),
    ("a.parquet", HEADER, ["a.parquet:", "not", "Parquet"]),
    ("a.parquet", b"PAR1" + b"x" * 50 + b"PAR1", ["a.parquet:", "damaged"]),
    ("a.json", b"{}", ["a.json:", "'data'", ".jsonl"]),
    ("a", b"text", ["a:", "extension", ".csv"]),
    ("a.txt", b"hello\n", ["a.txt:", "text, label", ".csv"]),
]


@pytest.mark.parametrize(("name", "content", "stated"), BAD_FILES)
def test_a_bad_file_is_refused_with_its_place_and_fault(
    name: str, content: bytes, stated: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        _read(name)
    message = str(caught.value)
    assert message.startswith(str(stated[0]))
    says(message, *stated)


BAD_SOURCES = [
    ("https://example.org/a.csv", ["https://example.org/a.csv", "URL", "hub:"]),
    ("s3://bucket/a.csv", ["s3://bucket/a.csv", "URL"]),
    ("reviws.csv", ["reviws.csv", "file in /", "'reviews.csv'"]),
    ("nowhere/a.csv", ["nowhere/a.csv", "folder /", "nowhere"]),
    ("owner/name", ["hub:owner/name"]),
    ("*.parquet", ["*.parquet", "file in /"]),
    ("empty", ["empty", "folder", "**/*.csv"]),
    ("pipe.csv", ["pipe.csv", "named pipe"]),
    ("/dev/null", ["/dev/null", "extension"]),
    ("folder.csv/inner", ["folder.csv/inner"]),
    ("dangling.csv", ["dangling.csv", "link", "'gone.csv'"]),
    ("", ["name of a file"]),
    ("a\0.csv", ["name of a file"]),
    ("x" * 5000 + ".csv", ["x" * 5000 + ".csv"]),
    ("builtin:python-doc", ["python-doc", "'python-docs'"]),
    ("hub:./reviews.csv", ["./reviews.csv", "local path", "hub:"]),
    ("hub:reviews.csv", ["hub:reviews.csv", "local path"]),
    ("hub:a/b/c", ["hub:a/b/c", "local path"]),
    ("hub:", ["hub::", "hub:OWNER/NAME[@REVISION][:CONFIG][#SPLIT]"]),
    ("hub:a b", ["hub:a b", "hub:OWNER/NAME"]),
]


@pytest.mark.parametrize(("source", "stated"), BAD_SOURCES)
def test_a_bad_source_is_refused_without_waiting(
    source: str, stated: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_bytes(HEADER + b"a,x\n")
    Path("empty").mkdir()
    Path("folder.csv").mkdir()
    Path("dangling.csv").symlink_to("gone.csv")
    os.mkfifo("pipe.csv")
    with pytest.raises(DataError) as caught:
        _read(source)
    says(str(caught.value), *stated)


def test_every_file_is_checked_for_columns_before_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("text,label\na,x\n")
    Path("b.csv").write_text("body,label\na,x\n")
    Path("c.jsonl").write_text('{"text": "a", "lable": 1}\n')
    with pytest.raises(DataError) as caught:
        open_rows(["*.csv", "c.jsonl"], Fields(column_types=COLUMN_TYPES))
    problems = str(caught.value).splitlines()
    assert [problem.split(":")[0] for problem in problems] == ["b.csv", "c.jsonl"]


def test_a_file_named_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("text,label\na,x\n")
    with pytest.raises(DataError, match=facts("a.csv:", "twice")):
        _read("./a.csv", "*.csv")


def test_a_file_that_changes_between_two_readings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,x\n")
    source = open_rows([str(path)], Fields(column_types=COLUMN_TYPES))
    assert len(list(source)) == 1
    path.write_text("text,label\na,x\nb,y\n")
    with pytest.raises(DataError, match=facts("a.csv:", "changed")):
        list(source)


def test_one_bad_cell_names_its_own_line_after_cells_with_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,label\r\n"a\r\nb\nc",x\r\n\r\nlast,\r\n')
    with pytest.raises(DataError, match=facts("a.csv:6:", "'label'", "empty")):
        _read(str(path))

"""Files that must be refused, each with the place of the fault and a word on what to do."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.recipe.blocks import Kind

ROLES: dict[str, Kind] = {"text": "text", "label": "label"}
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
    return [row.fields for row in open_rows(sources, roles=ROLES, columns={})]


BAD_FILES = [
    # name, content, words of the message; the first is the place
    ("a.csv", b"", ["a.csv: no usable rows (0 of 0)"]),
    ("a.csv", b"\n\r\n\n", ["a.csv: no usable rows (0 of 0)"]),
    ("a.csv", HEADER, ["a.csv: no usable rows (0 of 0)"]),
    ("a.csv", HEADER + b" ,x\n,y\n", ["a.csv: no usable rows (0 of 2)"]),
    ("a.jsonl", b"", ["a.jsonl: no usable rows (0 of 0)"]),
    ("a.jsonl", b"\n\n", ["a.jsonl: no usable rows (0 of 0)"]),
    ("a.csv", HEADER + b"ok,x\ncaf\xe9,y\n", ["a.csv:3: byte 0xE9 at offset 19", "UTF-8"]),
    ("a.csv", HEADER + b"ok,x\r\rcaf\xe9,y\n", ["a.csv:4: byte 0xE9 at offset 20"]),
    ("a.jsonl", b'{"text": "a", "label": "x"}\n{"text": "\xff"}\n', ["a.jsonl:2: byte 0xFF at offset 38", "UTF-8"]),
    ("a.csv", HEADER + b"x" * 3_000_000 + b",a\n\xc3", ["a.csv:3: byte 0xC3 at offset 3000014"]),
    ("a.csv", "text,label\na,b\n".encode("utf-16"), ["a.csv: is UTF-16 text", "Save it as UTF-8"]),
    ("a.csv", "text,label\na,b\n".encode("utf-16-be"), ["a.csv: is UTF-16 text", "Save it as UTF-8"]),
    ("a.jsonl", '{"text": "a"}'.encode("utf-16-le"), ["a.jsonl: is UTF-16 text"]),
    ("a.csv", HEADER + b"a\0b,x\n", ["a.csv:2:", "NUL"]),
    ("a.csv", b"i\0d,text,label\n1,a,x\n", ["a.csv:1:", "NUL"]),
    # The first byte of the é is the last one of the first MiB, which the search reads at a time.
    (
        "a.csv",
        HEADER + b"x" * (2**20 - 12) + b"\xc3\xa9,a\n" + b"y" * 2**20 + b"\xff",
        ["a.csv:3: byte 0xFF at offset 2097156"],
    ),
    ("a.jsonl", b'{"text": "a\\u0000b", "label": "x"}\n', ["a.jsonl:1:", "'text'", "NUL"]),
    ("a.jsonl", b'{"text": "\\ud800", "label": "x"}\n', ["a.jsonl:1:", "'text'", "surrogate"]),
    ("a.csv", b"text,text\na,b\n", ["a.csv:1:", "'text'", "Rename"]),
    ("a.jsonl", b'{"text": "a", "label": "x", "text": "b"}\n', ["a.jsonl:1:", "'text'", "twice"]),
    ("a.csv", b"text;label\na;b\n", ["a.csv:", "'text;label'", "semicolons"]),
    ("a.csv", b"text\tlabel\na\tb\n", ["a.csv:", "tabs", ".tsv"]),
    ("a.tsv", b"text,label\na,b\n", ["a.tsv:", "commas", ".csv"]),
    ("a.csv", b"body,label\na,b\n", ["a.csv:", "'text'", "'body', 'label'", 'data.columns: {text: "body"}']),
    ("a.csv", b"id,texts,label\n1,a,b\n", ["a.csv:", "Did you mean 'texts'?", 'data.columns: {text: "texts"}']),
    ("a.jsonl", b'{"text": "a", "label": "b"}\n{"text": "a"}\n', ["a.jsonl:2:", "'label'"]),
    ("a.csv", HEADER + b"a,x\nb,y,z\n", ["a.csv:3:", "3 cells", "2"]),
    ("a.csv", HEADER + b"a\n", ["a.csv:2:", "1 cells", "2"]),
    ("a.csv", HEADER + b'"two\nlines",x\n"open,y\nrest,z\n', ["a.csv:4:", "never closed"]),
    ("a.csv", HEADER + b'"a"b,y\n', ["a.csv:2:", "closing quote"]),
    ("a.csv", HEADER + b"a,\n", ["a.csv:2:", "'label'", "empty"]),
    ("a.jsonl", b'{"text": "a", "label": "x"}\n{"text": "b", "la', ["a.jsonl:2:", "cut off"]),
    ("a.jsonl", b"17\n", ["a.jsonl:1:", "the value 17", "object"]),
    ("a.jsonl", b'[{"text": "a"}]\n', ["a.jsonl:1:", "an array"]),
    ("a.jsonl", b"null\n", ["a.jsonl:1:", "null"]),
    ("a.jsonl", b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}\n", ["a.jsonl:1:", "100 levels"]),
    ("a.jsonl", b"[" * 5_000_000 + b"\n", ["a.jsonl:1:", "100 levels"]),
    ("a.jsonl", b'{"text": "a", "label": NaN}\n', ["a.jsonl:1:", "NaN"]),
    ("a.jsonl", b'{"text": "a", "label": -Infinity}\n', ["a.jsonl:1:", "-Infinity"]),
    ("a.jsonl", b'{"text": "a", "label": 1.0}\n', ["a.jsonl:1:", "'label'", "the number 1.0", '"1.0"']),
    ("a.jsonl", b'{"text": "a", "label": 1' + b"0" * 5000 + b"}\n", ["a.jsonl:1:"]),
    ("a.jsonl", b'{"text": 7, "label": "x"}\n', ["a.jsonl:1:", "'text'", "the number 7", '"7"']),
    ("a.jsonl", b'{"text": null, "label": "x"}\n', ["a.jsonl:1:", "'text'", "null"]),
    ("a.jsonl", b'{"text": "a", "label": null}\n', ["a.jsonl:1:", "'label'", "null"]),
    ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": "pos"}\n', ["a.jsonl:2:", "'label'", "same way"]),
    ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b", "label": true}\n', ["a.jsonl:2:", "boolean true"]),
    ("a.csv", gzip.compress(HEADER, mtime=0), ["a.csv:", "gzip"]),
    ("a.csv", _zip(HEADER), ["a.csv:", "zip archive"]),
    ("a.csv", _tar(HEADER), ["a.csv:", "tar archive"]),
    ("a.jsonl", b"PAR1....", ["a.jsonl:", "Parquet"]),
    ("a.csv", b"\x80\x04\x95abc", ["a.csv:", "pickle"]),
    ("a.csv", b"<!DOCTYPE html><html>", ["a.csv:", "web page"]),
    ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", ["a.csv:", "git lfs pull"]),
    ("a.parquet", HEADER, ["a.parquet:", "not a Parquet file"]),
    ("a.parquet", b"PAR1" + b"x" * 50 + b"PAR1", ["a.parquet:", "damaged"]),
    ("a.csv.gz", gzip.compress(HEADER, mtime=0), ["a.csv.gz:", "'.gz'", ".jsonl"]),
    ("a.json", b"{}", ["a.json:", "'data'", ".jsonl"]),
    ("a", b"text", ["a: has no extension"]),
    ("a.txt", b"hello\n", ["a.txt:", "no columns", "text, label", ".csv"]),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD_FILES)
def test_a_bad_file_is_refused_with_its_place_and_fault(
    name: str, content: bytes, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        _read(name)
    message = str(caught.value)
    assert message.startswith(words[0])
    assert [word for word in words if word not in message] == []


BAD_SOURCES = [
    ("https://example.org/a.csv", ["is a URL", "hub:"]),
    ("s3://bucket/a.csv", ["is a URL"]),
    ("reviws.csv", ["no such file in /", "Did you mean 'reviews.csv'?"]),
    ("nowhere/a.csv", ["no such file", "there is no folder /", "nowhere"]),
    ("owner/name", ["hub:owner/name"]),
    ("*.parquet", ["matches no file in /"]),
    ("empty", ["no data file in this folder", "**/*.csv"]),
    ("pipe.csv", ["is a named pipe"]),
    ("/dev/null", ["/dev/null: has no extension"]),
    ("folder.csv/inner", ["no such file"]),
    ("dangling.csv", ["is a link to 'gone.csv'"]),
    ("", ["is no name of a file"]),
    ("a\0.csv", ["is no name of a file"]),
    ("x" * 5000 + ".csv", ["no such file"]),
    ("builtin:python-doc", ["Did you mean 'python-docs'?"]),
    ("hub:./reviews.csv", ["looks like a local path", "leave out hub:"]),
    ("hub:reviews.csv", ["looks like a local path"]),
    ("hub:a/b/c", ["looks like a local path"]),
    ("hub:", ["is no name", "hub:OWNER/NAME[@REVISION][:CONFIG][#SPLIT]"]),
    ("hub:a b", ["is no name"]),
]


@pytest.mark.parametrize(("source", "words"), BAD_SOURCES)
def test_a_bad_source_is_refused_without_waiting(
    source: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_bytes(HEADER + b"a,x\n")
    Path("empty").mkdir()
    Path("folder.csv").mkdir()
    Path("dangling.csv").symlink_to("gone.csv")
    os.mkfifo("pipe.csv")
    with pytest.raises(DataError) as caught:
        _read(source)
    assert [word for word in words if word not in str(caught.value)] == []


def test_every_file_is_checked_for_columns_before_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("text,label\na,x\n")
    Path("b.csv").write_text("body,label\na,x\n")
    Path("c.jsonl").write_text('{"text": "a", "lable": 1}\n')
    with pytest.raises(DataError) as caught:
        open_rows(["*.csv", "c.jsonl"], roles=ROLES, columns={})
    problems = str(caught.value).splitlines()
    assert [problem.split(":")[0] for problem in problems] == ["b.csv", "c.jsonl"]


def test_a_file_named_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("text,label\na,x\n")
    with pytest.raises(DataError, match=r"a\.csv: is named twice"):
        _read("./a.csv", "*.csv")


def test_a_file_that_changes_between_two_readings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,x\n")
    source = open_rows([str(path)], roles=ROLES, columns={})
    assert len(list(source)) == 1
    path.write_text("text,label\na,x\nb,y\n")
    with pytest.raises(DataError, match=r"a\.csv: changed since it was first read"):
        list(source)


def test_one_bad_cell_names_its_own_line_after_cells_with_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,label\r\n"a\r\nb\nc",x\r\n\r\nlast,\r\n')
    with pytest.raises(DataError, match=r"a\.csv:6: 'label' is empty"):
        _read(str(path))

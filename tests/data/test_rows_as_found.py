"""Rows as spreadsheets, ShareGPT and other programs write them; and hints that name a column that may be meant."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import facts, logged

from llmkit.data.column_types import READERS, ValueFault
from llmkit.data.fields import Fields
from llmkit.data.rows import Row
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.recipe.blocks import ColumnType

LABELLED: dict[str, ColumnType] = {"text": "text", "label": "label"}
CHAT: dict[str, ColumnType] = {"prompt": "text", "input": "text", "response": "text", "messages": "messages"}
GROUPS = (("prompt", "response"), ("messages",))


def read(
    path: Path, column_types: dict[str, ColumnType] = LABELLED, *, keep_empty: bool = False, **fields: Any
) -> list[Row]:
    return list(open_rows([str(path)], Fields(column_types=column_types, **fields), keep_empty=keep_empty))


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---- spreadsheets


@pytest.mark.parametrize(
    "content",
    [
        "text,label,,,\na,x,,,\nb,y,,,\n",
        "text,label,\na,x,\nb,y\n",
        "text,label\na,x,,\nb,y,\n",
        "text,label,,\na,x\nb,y,,,,\n",
        ",,\ntext,label,\na,x,\nb,y,\n",
        "text,,label,\na,,x,\nb,,y,\n",
        ",text,label\n0,a,x\n1,b,y\n",
        "text,label,Unnamed: 2\na,x,\nb,y,\n",
        "text,label,,\na,x,,\n,,,\nb,y,,\n,\n",
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_empty_columns_and_rows_of_spreadsheets_are_nothing(tmp_path: Path, suffix: str, content: str) -> None:
    path = written(tmp_path / f"a.{suffix}", content.replace(",", "\t") if suffix == "tsv" else content)
    assert [row.fields for row in read(path)] == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


def test_a_cell_behind_the_last_column_is_not_lost_without_a_word(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label,,\na,x,,\nb,y,,more\n")
    with pytest.raises(DataError, match=facts("a.csv:3:", 4, 2, "more")):
        read(path)


def test_empty_rows_are_counted_and_stay_where_rows_of_two_files_are_compared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "a.csv", "text,label\na,x\n,\nb,y\n,,\n")
    assert len(read(path)) == 2
    assert len(logged(caplog, "WARNING", "a.csv", 2, "lines 3, 5")) == 1
    aligned = read(path, {"text": "any"}, keep_empty=True)
    assert [row.fields["text"] for row in aligned] == [["a"], [""], ["b"], [""]]


def test_a_null_text_in_parquet_is_skipped_and_counted_like_an_empty_cell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pq.write_table(pa.table({"text": ["a", None, "c"], "label": ["x", "y", "z"]}), tmp_path / "a.parquet")
    assert [row.fields["text"] for row in read(tmp_path / "a.parquet")] == ["a", "c"]
    assert len(logged(caplog, "WARNING", "a.parquet", 1, "text")) == 1


# ---- conversations


@pytest.mark.parametrize(
    "messages",
    [
        [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}],
        [{"role": "human", "content": "Hi"}, {"role": "gpt", "content": "Hello"}],
        [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
        ],
        [{"role": "user", "content": ["Hi"]}, {"role": "assistant", "content": "Hello"}],
    ],
)
def test_messages_of_sharegpt_and_contents_in_parts_are_messages(messages: object) -> None:
    expected = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert READERS["messages"](messages) == expected
    assert READERS["messages"](json.dumps(messages)) == expected


def test_parts_become_lines() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert READERS["messages"]([{"from": "system", "value": parts}]) == [{"role": "system", "content": "one\ntwo"}]


@pytest.mark.parametrize(
    ("messages", "stated"),
    [
        ([{"role": "user", "content": "a"}, {"role": "assistant"}], ("message 2", "'content'", "assistant")),
        ([{"speaker": "user", "content": "a"}], ("message 1", "'role'", "speaker")),
        ([{"role": "user", "content": None}], ("message 1", "content", "null")),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x.png"}]}], ("message 1", "image_url")),
        (["Hi"], ("message 1", "Hi")),
        ({"role": "user"}, ("user",)),
    ],
)
def test_what_is_no_message_is_named_with_its_number_its_key_and_its_value(
    messages: object, stated: tuple[object, ...]
) -> None:
    with pytest.raises(ValueFault, match=facts(*stated)):
        READERS["messages"](messages)


def test_conversations_is_the_column_of_messages_where_no_column_has_that_name(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    path = written(tmp_path / "a.jsonl", json.dumps({"id": "1", "conversations": turns}))
    options: dict[str, Any] = {"groups": GROUPS, "optional": {"input": True}}
    aliases = {"messages": ("conversations",)}
    (row,) = read(path, CHAT, aliases=aliases, **options)
    assert [message["role"] for message in row.fields["messages"]] == ["user", "assistant"]
    with pytest.raises(DataError, match=facts('{messages: "conversations"}')):
        read(path, CHAT, **options)


# ---- hints


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ({"id": "t1", "body": "a long text", "label": "x"}, "body"),
        ({"idx": 0, "uuid": "4a5b6c7d8e", "sentence": "a", "label": "x"}, "sentence"),
        ({"tweet_id": "t1", "Unnamed: 0": "0", "said": "a long text", "label": "x"}, "said"),
        ({"review_id": "r-000001-aaaaaaaaaaaaaaaaaaaaaa", "words": "short", "label": "x"}, "words"),
        ({"id": "t1", "label": "x"}, "NAME"),
    ],
)
def test_the_hint_for_a_missing_text_never_names_a_column_of_ids(
    tmp_path: Path, row: dict[str, object], column: str
) -> None:
    path = written(tmp_path / "a.jsonl", json.dumps(row))
    with pytest.raises(DataError, match=facts("'text'", f'{{text: "{column}"}}')):
        read(path)


def test_the_hint_for_a_missing_label_takes_the_short_value(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "id,text,notes,kind\n1,a text,a much longer note,x\n")
    with pytest.raises(DataError, match=facts('{label: "kind"}')):
        read(path)


def test_the_hint_for_alpaca_maps_both_columns(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", json.dumps([{"instruction": "a", "input": "", "output": "b"}]))
    with pytest.raises(DataError, match=facts('{prompt: "instruction", response: "output"}')):
        read(path, CHAT, groups=GROUPS, optional={"input": True})


# ---- compressed files and UTF-16

TWO = [{"text": "é a", "label": "x"}, {"text": "b", "label": "y"}]
FILES = {
    "a.csv": "text,label\r\né a,x\r\nb,y\r\n",
    "a.tsv": "text\tlabel\né a\tx\nb\ty\n",
    "a.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in TWO),
    "a.json": json.dumps(TWO, ensure_ascii=False),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("compressed", [True, False])
def test_gzip_and_utf16_with_a_mark_are_read_like_other_files(
    tmp_path: Path, name: str, encoding: str, compressed: bool
) -> None:
    content = FILES[name].encode(encoding)
    if compressed:
        name, content = f"{name}.gz", gzip.compress(content, mtime=0)
    assert [row.fields for row in read(written(tmp_path / name, content))] == TWO


def test_compressed_words_and_lines_are_rows_too(tmp_path: Path) -> None:
    words: dict[str, ColumnType] = {"words": "words", "tags": "labels"}
    path = written(tmp_path / "a.conll.gz", gzip.compress(b"Ada B-PER\nran O\n\n", mtime=0))
    assert read(path, words)[0].fields["tags"] == ["B-PER", "O"]
    path = written(tmp_path / "b.TXT.GZ", gzip.compress(b"one\ntwo\n", mtime=0))
    assert [row.fields["text"] for row in read(path, {"text": "text"})] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "stated"),
    [
        ("a.csv.gz", gzip.compress(b"text,label\na,x\n" * 900, mtime=0)[:-20], ("a.csv.gz:", "gzip")),
        ("a.csv.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 40, ("a.csv.gz:", "gzip")),
        ("a.csv.gz", b"text,label\na,x\n", ("a.csv.gz:", "gzip")),
        ("a.csv", gzip.compress(b"text,label\na,x\n", mtime=0), ("a.csv:", "gzip", ".gz")),
        ("a.parquet.gz", gzip.compress(b"PAR1", mtime=0), ("a.parquet.gz:", ".gz")),
        ("a.csv", "text,label\na,x\n".encode("utf-16")[:-1], ("a.csv:", "UTF-16")),
    ],
)
def test_damaged_or_misnamed_compressed_files_are_errors(
    tmp_path: Path, name: str, content: bytes, stated: tuple[object, ...]
) -> None:
    with pytest.raises(DataError, match=facts(*stated)):
        read(written(tmp_path / name, content))

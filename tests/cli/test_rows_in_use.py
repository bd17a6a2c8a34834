"""Every row of the input has its result, by number and id; a row without a text has null and the reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encoder_folders import encoder_folders
from facts import says
from tiny_recipes import FOOD, SPORT, llmkit

import llmkit as library
from llmkit.api import InputRow, results_of_rows, text_rows
from llmkit.errors import DataError

OPTIONS = {"generate": ("--max-new-tokens", "3"), "summarize": ("--lines",)}
NULL = {"classify": "label", "generate": "texts", "summarize": "summary"}


def records_of(*arguments: object, stdin: bytes = b"") -> list[dict[str, object]]:
    outcome = llmkit(*arguments, "--json", stdin=stdin)
    assert outcome.code == 0, outcome.err
    return list(outcome.records)


@pytest.mark.parametrize("verb", list(NULL))
def test_a_blank_line_has_a_row_with_null_and_the_reason(here: Path, tmp_path: Path, verb: str) -> None:
    content = f"{SPORT}\n\n  \n{FOOD}\n\n"
    (tmp_path / "in.txt").write_text(content)
    from_file = records_of(verb, tmp_path / "in.txt", *OPTIONS.get(verb, ()))
    assert [record["row"] for record in from_file] == [1, 2, 3, 4, 5]
    assert [record[NULL[verb]] is None for record in from_file] == [False, True, True, False, True]
    assert ["reason" in record for record in from_file] == [False, True, True, False, True]
    assert records_of(verb, *OPTIONS.get(verb, ()), stdin=content.encode()) == from_file


def test_a_row_keeps_its_id_and_its_number(here: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"id,text\n007,{SPORT}\nb,\n,{FOOD}\n")
    records = records_of("classify", tmp_path / "in.csv")
    assert [(record["row"], record["id"], record["label"]) for record in records] == [
        (1, "007", "sport"), (2, "b", None), (3, "", "food"),
    ]  # fmt: skip


def test_ids_and_nulls_of_json_and_parquet_are_as_there(here: Path, tmp_path: Path) -> None:
    rows = [{"id": 7, "text": SPORT}, {"id": 8, "text": None}, {"id": 9, "text": FOOD}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    expected = [(1, 7, "sport"), (2, 8, None), (3, 9, "food")]
    for name in ("in.jsonl", "in.parquet"):
        records = records_of("classify", tmp_path / name)
        assert [(record["row"], record["id"], record["label"]) for record in records] == expected


def test_plain_output_has_a_line_for_each_row(here: Path) -> None:
    outcome = llmkit("classify", stdin=f"{SPORT}\n\n{FOOD}\n".encode())
    assert [line.split("\t")[0] for line in outcome.out.split("\n")] == ["sport", "", "food", ""]
    says(outcome.err, "warning:", "1 of 3", "standard input:2")


def test_rows_without_any_text_are_an_error_with_the_place(here: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("\n\n")
    outcome = llmkit("classify", tmp_path / "in.txt", "-o", tmp_path / "out.jsonl")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "in.txt:1", "empty")
    assert not (tmp_path / "out.jsonl").exists()


def test_an_error_names_the_row_of_the_input(here: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text(f"{SPORT}\n\n\n{' '.join([FOOD] * 20)}\n")
    outcome = llmkit("classify", tmp_path / "in.txt", "--overflow", "error")
    assert outcome.code == 3
    says(outcome.err, "row 4:")


def test_a_wrong_pair_is_named_by_its_row_and_an_empty_half_is_null(tmp_path: Path) -> None:
    rows = [InputRow(1, ("a", "b"), "x:1"), InputRow(2, ("a", " "), "x:2", empty="the text_pair is empty")]
    pairs = list(results_of_rows(rows, lambda values: (len(first) for first, _ in values)))
    assert [(row.row, result) for row, result in pairs] == [(1, 1), (2, None)]


def test_texts_of_a_file_are_as_many_as_its_rows(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,id\na,1\n,2\nb,3\n")
    assert [(row.value, row.id) for row in text_rows(tmp_path / "in.csv")] == [("a", "1"), ("", "2"), ("b", "3")]
    assert list(library.api.read_texts(tmp_path / "in.csv")) == ["a", "", "b"]


def test_a_blank_text_in_python_is_an_error_with_its_number(here: Path) -> None:
    model = library.load("runs/classify-001")
    with pytest.raises(DataError, match="row 2"):
        list(model.classify([SPORT, "", FOOD]))


@pytest.fixture(scope="module")
def bert() -> str:
    return str(encoder_folders() / "masked-lm")


def test_vectors_of_every_format_have_a_row_for_each_input(bert: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\nx,the small dog\ny,\nz,a letter came\n")
    for suffix in (".npy", ".jsonl", ".parquet"):
        outcome = llmkit("embed", tmp_path / "in.csv", "-m", bert, "-o", tmp_path / f"out{suffix}")
        assert outcome.code == 0, outcome.err
    vectors = np.load(tmp_path / "out.npy")
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, False]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for records in (lines, table, records_of("embed", tmp_path / "in.csv", "-m", bert)):
        assert [(record["row"], record["id"], record["vector"] is None) for record in records] == [
            (1, "x", False), (2, "y", True), (3, "z", False),
        ]  # fmt: skip


def test_a_search_counts_rows_without_a_text(bert: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("the small dog\n\na letter came\n")
    found = {}
    assert llmkit("embed", tmp_path / "in.txt", "-m", bert, "-o", tmp_path / "out.parquet").code == 0
    for source in ("in.txt", "out.parquet"):
        (record,) = records_of("embed", tmp_path / source, "-m", bert, "--search", "a letter came", "--top-k", "1")
        found[source] = record["results"][0]["row"]  # type: ignore[index]
    assert found == {"in.txt": 3, "out.parquet": 3}

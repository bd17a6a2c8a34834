"""Answers and where they stand: of what forms they may be in a file, and what is done where a start is wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from facts import facts, logged

from llmkit.data.column_types import READERS
from llmkit.data.fields import Fields
from llmkit.data.rows import Row
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.recipe.blocks import ColumnType
from llmkit.tasks.question_answering.locate import locate_answer

COLUMN_TYPES: dict[str, ColumnType] = {"context": "text", "question": "text", "answers": "answers"}
CONTEXT = "Ada met Bob. Ada left, and Bob stayed."
ONE = {"text": ["Bob"], "answer_start": [8]}


def read(path: Path) -> list[Row]:
    return list(open_rows([str(path)], Fields(column_types=COLUMN_TYPES)))


@pytest.mark.parametrize(
    ("text", "start", "found"),
    [
        ("Bob", 8, (8, 11)),
        ("Bob", 27, (27, 30)),
        ("Bob", 10, (8, 11)),  # two occurrences, one of them near
        ("Bob", 25, (27, 30)),
        ("left", 0, (17, 21)),  # far away, but there is only one
        ("left", 900, (17, 21)),
        (" Bob ", 7, (8, 11)),
        ("Eve", 8, None),
        ("bob", 8, None),
        ("Bob", 900, None),  # which of the two?
    ],
)
def test_an_answer_is_found_where_it_should_be_or_near_or_where_it_is_alone(
    text: str, start: int, found: tuple[int, int] | None
) -> None:
    assert locate_answer(CONTEXT, text, start) == found


def test_of_two_occurrences_equally_near_neither_is_taken() -> None:
    assert locate_answer("ab  ab", "ab", 2) is None
    assert locate_answer("aXa", "a", 1) is None


@pytest.mark.parametrize(
    "value",
    [
        ONE,
        json.dumps(ONE),
        [{"text": "Bob", "answer_start": 8}],
        [{"text": "Bob", "answer_start": 8, "id": 3}],
        {**ONE, "answer_category": None},
    ],
)
def test_answers_may_be_lists_side_by_side_or_pairs_or_json_in_a_cell(value: object) -> None:
    assert READERS["answers"](value) == ONE


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_file_of_any_kind_has_answers_as_datasets_gives_them(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    row: dict[str, Any] = {"context": CONTEXT, "question": "Whom did Ada meet?", "answers": ONE}
    none: dict[str, Any] = {**row, "answers": {"text": [], "answer_start": []}}
    if suffix == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist([row, none]), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(one) + "\n" for one in (row, none)))
    else:
        with path.open("w", newline="") as file:
            cells = [[*row], *([one["context"], one["question"], json.dumps(one["answers"])] for one in (row, none))]
            csv.writer(file).writerows(cells)
    assert [one.fields for one in read(path)] == [row, none]


@pytest.mark.parametrize("value", [{"text": [], "answer_start": []}, [], "[]", '{"text": [], "answer_start": []}'])
def test_no_answers_at_all_are_answers(value: object) -> None:
    assert READERS["answers"](value) == {"text": [], "answer_start": []}


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        {"text": "", "answer_start": -1},
        {"text": [""], "answer_start": [-1]},
        [{"text": "", "answer_start": -1}],
        [{"text": " ", "answer_start": 0}],
        {"text": None, "answer_start": None},
        '[{"text": "", "answer_start": -1}]',
    ],
)
def test_null_and_an_empty_text_are_no_answer(value: object) -> None:
    assert READERS["answers"](value) == {"text": [], "answer_start": []}


@pytest.mark.parametrize(
    "value",
    [
        "Bob",
        ["Bob"],
        {"text": "Bob"},
        {"text": ["Bob"]},
        [{"text": "Bob"}],
        [{"text": "Bob", "answer_start": -1}],
        [{"text": "Bob", "answer_start": None}],
        [{"text": "Bob"}, {"text": ""}],
        '["Bob"]',
    ],
)
def test_answers_without_a_start_are_answers(value: object, tmp_path: Path) -> None:
    assert READERS["answers"](value) == {"text": ["Bob"], "answer_start": [None]}


def test_an_answer_without_a_start_is_taken_where_it_occurs_once() -> None:
    assert locate_answer("ab cd", "cd", None) == (3, 5)
    assert locate_answer("ab ab", "ab", None) is None


def test_a_single_answer_needs_no_lists() -> None:
    assert READERS["answers"]({"text": "Bob", "answer_start": 8}) == ONE


@pytest.mark.parametrize(
    "value",
    [
        7,
        {"answer": "Bob"},
        {"text": ["Bob", "Ada"], "answer_start": [8]},
        {"text": ["Bob"], "answer_start": [8.0]},
        {"text": ["Bob"], "answer_start": [True]},
        {"text": [3], "answer_start": [8]},
        [{"value": "Bob"}],
        "{'text': ['Bob'], 'answer_start': [8]}",
    ],
)
def test_other_answers_are_refused_with_their_place(value: object, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"context": CONTEXT, "question": "Who?", "answers": value}) + "\n")
    with pytest.raises(DataError, match=facts("a.jsonl:1:", "'answers'")):
        read(path)


# ---- the nested files of SQuAD


def nested(*questions: dict[str, Any], context: str = CONTEXT) -> dict[str, Any]:
    return {"version": "v2.0", "data": [{"title": "People", "paragraphs": [{"context": context, "qas": [*questions]}]}]}


def test_nested_files_of_both_versions_give_a_row_a_question(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    first = {"id": "a1", "question": "Whom did Ada meet?", "answers": [{"text": "Bob", "answer_start": 8}]}
    plausible = {"plausible_answers": [{"text": "Ada", "answer_start": 0}]}
    second = {"id": "a2", "question": "Who sang?", "answers": [], "is_impossible": True, **plausible}
    content = nested({**first, "is_impossible": False}, second)
    third = {**first, "answers": [{"text": "Bob", "answer_start": 11}]}
    content["data"] += nested(third, context="Nobody met Bob.")["data"]
    path.write_text(json.dumps(content), encoding="utf-8-sig")
    rows = read(path)
    assert [row.fields["answers"] for row in rows] == [
        ONE,
        {"text": [], "answer_start": []},
        {"text": ["Bob"], "answer_start": [11]},
    ]
    assert [row.fields["context"] for row in rows] == [CONTEXT, CONTEXT, "Nobody met Bob."]
    assert rows[1].fields["question"] == "Who sang?"
    assert rows[1].place == f"{path.as_posix()}[1]"


QUESTION = {"question": "Who?", "answers": []}
BAD_JSON: list[tuple[object, list[object]]] = [
    ("{", ["a.json:1:", "JSON", "column 2"]),
    ('{"data": 1, "data": 2}', ["a.json:", "'data'", "twice"]),
    ("[" * 200 + "]" * 200, ["a.json:", 100]),
    ('{"text": "a"}\n{"text": "b"}', ["a.json:2:", "JSON", ".jsonl"]),
    ([{"text": "a"}], ["a.json:", "'context'", "'text'"]),
    ({"rows": []}, ["a.json:", "'data'", "'rows'"]),
    ({"data": {}}, ["a.json:", "'data'", "array", "object"]),
    ({"data": ["x", {"qas": []}]}, ["data[0]:", "object", "x"]),
    ({"data": ["x"]}, ["a.json[0]:", "object", "text"]),
    ({"data": [{"title": "x"}, {"qas": []}]}, ["data[0]:", "'paragraphs'", "'title'"]),
    ({"data": [{"paragraphs": [{"qas": [QUESTION]}]}]}, ["data[0].paragraphs[0]:", "'context'"]),
    (nested(QUESTION, {"answers": []}), ["paragraphs[0].qas[1]:", "'question'"]),
    (nested({"question": "Who?"}), ["qas[0]:", "'answers'"]),
    (nested({"question": ["Who?"], "answers": []}), ["'question'", "list"]),
    (nested({**QUESTION, "is_impossible": "no"}), ["is_impossible", "true", "false", "no"]),
    (nested({"question": "Who?", "answers": [ONE], "is_impossible": True}), ["is_impossible", "true", "answers"]),
    (nested({"question": "Who?", "answers": [{"answer": "Bob"}]}), ["a.json[0]:", "'answers'", "'text'"]),
    ({"data": []}, ["a.json:", "0 of 0", "rows"]),
    ("", ["a.json:", "0 of 0", "rows"]),
]


@pytest.mark.parametrize(("content", "stated"), BAD_JSON)
def test_another_layout_is_refused_with_the_path_to_it(content: object, stated: list[object], tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=facts(*stated)):
        read(path)


def test_a_folder_leaves_out_json_which_is_about_the_data_as_a_rule(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "a.jsonl").write_text(json.dumps({"context": CONTEXT, "question": "Who?", "answers": ONE}) + "\n")
    assert len(read(tmp_path)) == 1


@pytest.mark.parametrize("role", ["context", "question"])
def test_rows_with_an_empty_question_or_passage_are_left_out_and_counted(
    role: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    whole = {"context": CONTEXT, "question": "Who?", "answers": ONE}
    path.write_text("".join(json.dumps(row) + "\n" for row in (whole, {**whole, role: " \n"})))
    assert len(read(path)) == 1
    assert len(logged(caplog, "WARNING", "a.jsonl", role, "line 2")) == 1


def test_half_a_surrogate_pair_in_an_answer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"context": "a", "question": "b", "answers": {"text": ["\\ud800"], "answer_start": [0]}}\n')
    with pytest.raises(DataError, match=facts("a.jsonl:1:", "'answers'", "surrogate")):
        read(path)


PLAIN = [{"context": CONTEXT, "question": "Whom did Ada meet?", "answers": ONE}]


@pytest.mark.parametrize("content", [PLAIN, {"version": 1, "data": PLAIN}])
def test_a_json_file_may_be_a_list_of_rows(content: object, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content, indent=1))
    assert [(row.fields, row.place) for row in read(path)] == [(PLAIN[0], f"{path.as_posix()}[0]")]


def test_articles_paragraphs_and_the_keys_of_cmrc_are_questions_too(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    squad = nested({"question": "Whom did Ada meet?", "answers": ["Bob"]})
    other = {"context_text": CONTEXT, "qas": [{"query_text": "Whom did Ada meet?", "query_id": 1, "answers": ["Bob"]}]}
    fields = {**PLAIN[0], "answers": {"text": ["Bob"], "answer_start": [None]}}
    for content in (squad, squad["data"], squad["data"][0], [other], {"data": [{"paragraphs": [other]}]}):
        path.write_text(json.dumps(content))
        assert [row.fields for row in read(path)] == [fields]


def test_an_impossible_question_may_have_an_empty_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    empty = [{"text": "", "answer_start": -1}]
    path.write_text(json.dumps(nested({"question": "Who?", "answers": empty, "is_impossible": True})))
    assert read(path)[0].fields["answers"] == {"text": [], "answer_start": []}

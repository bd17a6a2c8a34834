"""All rows that a task cannot use are in one error, before a tokenizer or a model is made, or are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import recipe_of
from facts import facts, logged, says

from llmkit.errors import DataError
from llmkit.recipe.blocks import DataBlock
from llmkit.tasks.base import TaskRecipe
from llmkit.training.row_checks import bad_rows_file, check_rows, left_out
from llmkit.training.splits import SplitRows, open_splits

CONTEXT = "Ada met Bob in Rome. They stayed there for a week."
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
GOOD: dict[str, dict[str, Any]] = {
    "classification": {"text": "a text", "label": "good"},
    "question-answering": {
        "context": CONTEXT,
        "question": "Where?",
        "answers": {"text": ["Rome"], "answer_start": [15]},
    },
    "instruction": {"messages": TURNS},
    "multiple-choice": {"question": "Which?", "choices": ["a cat", "a dog"], "answer": "1"},
    "token-classification": {"words": ["Ada", "ran"], "tags": ["B-PER", "O"]},
    "translation": {"source": "one", "target": "eins"},
    "causal-lm": {"text": "a text"},
}
BAD: list[tuple[str, dict[str, Any], dict[str, Any], tuple[object, ...]]] = [
    ("classification", {}, {"label": None}, ("label",)),
    ("classification", {}, {"label": 7}, ("label", 7)),
    ("classification", {"labels": ("good", "bad")}, {"label": "goood"}, ("goood", "good", "bad")),
    ("classification", {"multilabel": True, "labels": ("good", "bad")}, {"labels": ["good", "so"]}, ("so",)),
    ("classification", {"regression": True}, {"label": "many"}, ("label",)),
    ("question-answering", {}, {"answers": {"text": ["rome"], "answer_start": [15]}}, ("rome", "Rome", 15)),
    ("question-answering", {}, {"answers": {"text": ["Rome", "Paris"], "answer_start": [15, 0]}}, ("Paris",)),
    ("instruction", {}, {"messages": TURNS[::-1]}, ("message 1", "user")),
    ("instruction", {}, {"messages": TURNS[:1]}, ("assistant",)),
    ("multiple-choice", {}, {"answer": "a bird"}, ("a bird",)),
    ("multiple-choice", {}, {"choices": ["a cat", "a cat"]}, ("a cat",)),
    ("multiple-choice", {}, {"question": " "}, ("question",)),
    ("token-classification", {}, {"tags": ["O"]}, (2, 1)),
    ("token-classification", {"labels": ("O", "B-PER", "I-PER")}, {"tags": ["B-LOC", "O"]}, ("B-LOC",)),
    ("translation", {}, {"target": 5}, ("target", 5)),
    ("translation", {}, {"source": "half \ud800"}, ("source",)),
    ("causal-lm", {}, {"text": ["a"]}, ("text",)),
    ("causal-lm", {}, {"text": "a\0b"}, ("text", "NUL")),
]


def _written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def _splits(folder: Path, task: Any, rows: list[Any], **keys: Any) -> tuple[TaskRecipe, dict[Any, SplitRows]]:
    """With training and validation rows in separate files; the latter are given, or good."""
    data = keys.pop("data", {})
    held_out = keys.pop("validation", None)
    recipe: TaskRecipe = recipe_of(task, **keys)
    good = dict(GOOD[task])
    if keys.get("multilabel"):
        good = {"text": "a text", "labels": ["good"]}
    elif keys.get("regression"):
        good["label"] = 1
    other = {**good, "label": "bad"} if task == "classification" and not keys else good
    train = _written(
        folder / "train.jsonl", [good, *({**good, **row} if isinstance(row, dict) else row for row in rows), other]
    )
    validation = _written(folder / "validation.jsonl", held_out or [good])
    block = DataBlock(train=(str(train),), validation=(str(validation),), **data)
    recipe = recipe.model_copy(update={"data": block})
    return recipe, open_splits(recipe)


@pytest.mark.parametrize(("task", "keys", "change", "stated"), BAD)
def test_all_bad_rows_are_in_one_error_with_place_and_fault(
    tmp_path: Path, task: str, keys: dict[str, Any], change: dict[str, Any], stated: tuple[object, ...]
) -> None:
    recipe, splits = _splits(tmp_path, task, [change, {}, change], **keys)
    with pytest.raises(DataError) as caught:
        check_rows(recipe, splits)
    for line in (2, 4):
        says(str(caught.value), f"train.jsonl:{line}:", *stated)
    says(str(caught.value), "train.jsonl:", 2, 5, "skip_bad_rows")


@pytest.mark.parametrize(("task", "keys", "change", "stated"), BAD)
def test_bad_rows_are_left_out_counted_and_listed_where_the_recipe_says_so(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    task: str,
    keys: dict[str, Any],
    change: dict[str, Any],
    stated: tuple[object, ...],
) -> None:
    recipe, splits = _splits(tmp_path, task, [change, {}, change], data={"skip_bad_rows": True}, **keys)
    check_rows(recipe, splits)
    places = [row.place.rpartition(":")[2] for row in splits["train"]]
    assert places == ["1", "3", "5"]
    assert [row.place for row in splits["train"]] == [row.place for row in splits["train"]]
    assert left_out(splits)["train"]["rows"] == 2
    assert list(left_out(splits)["train"]["reasons"].values()) == [2]
    assert left_out(splits)["validation"] == {"rows": 0, "reasons": {}}
    listed = [json.loads(line) for line in bad_rows_file(splits).splitlines()]
    assert [row["place"].rpartition(":")[2] for row in listed] == ["2", "4"]
    for row in listed:
        says(row["fault"], *stated)
        assert row["row"].items() >= change.items()
    assert len(logged(caplog, "WARNING", "train.jsonl", 2, 5)) == 1


def test_a_record_that_cannot_be_read_is_a_bad_row_too(tmp_path: Path) -> None:
    rows = ['{"text": "a", "label": "good"', "[1]", '{"text": "a", "text": "b"}', {"label": None}]
    recipe, splits = _splits(tmp_path, "classification", rows)
    with pytest.raises(DataError) as caught:
        check_rows(recipe, splits)
    for line in range(2, 6):
        says(str(caught.value), f"train.jsonl:{line}:")
    recipe, splits = _splits(tmp_path, "classification", rows, data={"skip_bad_rows": True})
    check_rows(recipe, splits)
    assert len(list(splits["train"])) == 2
    assert json.loads(bad_rows_file(splits).splitlines()[0])["row"] == rows[0]


def test_csv_rows_with_another_number_of_cells_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,x\nb,y,z\nc\nd,y\ne,x\nf,y\n")
    recipe = recipe_of("classification")
    block = DataBlock(train=(str(path),), validation="1%", skip_bad_rows=True)
    recipe = recipe.model_copy(update={"data": block})
    splits = open_splits(recipe)
    check_rows(recipe, splits)
    listed = [json.loads(line) for line in bad_rows_file(splits).splitlines()]
    assert [(row["place"].rpartition(":")[2], row["row"]) for row in listed] == [("3", ["b", "y", "z"]), ("4", ["c"])]


def test_twenty_bad_rows_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    recipe, splits = _splits(tmp_path, "classification", [{"label": None}] * 23 + [{"text": 5}] * 2)
    with pytest.raises(DataError) as caught:
        check_rows(recipe, splits)
    assert str(caught.value).count("train.jsonl:") == 21
    says(str(caught.value), 25, 27, 20, 23, 2)


def test_bad_rows_of_all_files_are_in_one_error(tmp_path: Path) -> None:
    recipe, splits = _splits(tmp_path, "classification", [{"label": None}], validation=[{"text": "a", "label": "goo"}])
    with pytest.raises(DataError) as caught:
        check_rows(recipe, splits)
    says(str(caught.value), "train.jsonl:2:", "label")
    says(str(caught.value), "validation.jsonl:1:", "goo", "good")


def test_a_label_of_the_validation_rows_that_no_training_row_has_is_a_bad_row(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "good"}, {"text": "b", "label": "odd"}]
    recipe, splits = _splits(tmp_path, "classification", [], validation=rows, data={"skip_bad_rows": True})
    assert check_rows(recipe, splits) == ("bad", "good")
    assert [row.fields["text"] for row in splits["validation"]] == ["a"]
    assert left_out(splits)["validation"]["rows"] == 1


def test_rows_that_sometimes_have_a_second_text_are_bad_rows(tmp_path: Path) -> None:
    recipe, splits = _splits(tmp_path, "classification", [{"text_pair": "b"}, {}])
    with pytest.raises(DataError, match=facts("train.jsonl:2:", "text_pair")):
        check_rows(recipe, splits)


def test_a_file_of_bad_rows_only_is_an_error_even_where_they_are_left_out(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.jsonl", [{"text": "a", "label": None}] * 3)
    recipe = recipe_of("classification")
    block = DataBlock(train=(str(path),), validation="1%", skip_bad_rows=True)
    recipe = recipe.model_copy(update={"data": block})
    with pytest.raises(DataError, match=facts("a.jsonl", 0, 3)):
        check_rows(recipe, open_splits(recipe))


def test_bad_rows_before_damage_to_the_file_are_listed_with_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('text,label\na,\n"b,y\n')
    recipe = recipe_of("classification").model_copy(update={"data": DataBlock(train=(str(path),), validation="20%")})
    with pytest.raises(DataError) as caught:
        check_rows(recipe, open_splits(recipe))
    says(str(caught.value), "rows.csv:2:", "label")
    says(str(caught.value), "rows.csv:3:", "quote")

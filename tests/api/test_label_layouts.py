"""Rows with any number of labels in the layouts of other tools: a 0 or 1 for each label, columns, separators."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import recipe_of
from facts import facts, says
from pydantic import ValidationError
from tiny_recipes import llmkit as command_line
from tiny_recipes import write_jsonl

import llmkit
from llmkit.data.fields import Fields
from llmkit.data.sources import open_rows
from llmkit.errors import DataError, UsageError
from llmkit.recipe.recipe import LabelSets

NAMES = ("toxic", "insult", "threat")
SETS: list[list[str]] = [["toxic", "threat"], [], ["insult"], ["toxic", "insult", "threat"], ["threat"]]
RECIPE = """recipe: 1
task: classification
multilabel: true
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: rows.jsonl, validation: rows.jsonl}
train: {steps: 1, batch_size: 8, checks: false}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def written(folder: Path, values: Sequence[Any], *, name: str = "rows.jsonl") -> str:
    """Rows with these labels: as JSON, or as cells if the name ends in .csv; a mapping has a column for each key."""
    rows = [
        {"text": f"a sound {number}", **(value if isinstance(value, Mapping) else {"labels": value})}
        for number, value in enumerate(values)
    ]
    if name.endswith(".csv"):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        write_jsonl(folder / name, rows)
    return name


def read(
    source: str, *, names: Sequence[str] = (), separator: str | None = None, columns: Any = None
) -> list[list[str]]:
    rows = open_rows(
        [source],
        Fields(
            column_types={"text": "text", "labels": "labels"},
            columns=columns or {},
            label_sets=LabelSets(tuple(names), separator),
        ),
    )
    return [row.fields["labels"] for row in rows]


def ones(kind: str) -> list[Any]:
    """The sets as a 0 or 1 for each name."""
    rows = [[name in labels for name in NAMES] for labels in SETS]
    spelled: dict[str, Any] = {
        "whole numbers": lambda item: int(item),
        "numbers": lambda item: float(item),
        "booleans": lambda item: item,
        "texts": lambda item: str(int(item)),
    }
    if kind == "separated":
        return [";".join(str(int(item)) for item in row) for row in rows]
    return [[spelled[kind](item) for item in row] for row in rows]


KINDS = ("whole numbers", "numbers", "booleans", "texts")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_0_or_1_for_each_label_is_read_by_the_names_of_the_labels(folder: Path, kind: str, name: str) -> None:
    values = ones(kind) if name.endswith("jsonl") else [json.dumps(row) for row in ones(kind)]
    assert read(written(folder, values, name=name), names=NAMES) == SETS


@pytest.mark.parametrize("kind", KINDS)
def test_a_0_or_1_for_each_label_is_refused_if_the_labels_have_no_names(folder: Path, kind: str) -> None:
    """They were the labels "0" and "1", and nearly always right."""
    with pytest.raises(DataError, match=facts("rows.jsonl:1", "'labels'", "labels:")):
        read(written(folder, ones(kind)))


@pytest.mark.parametrize("rows", [[[0, 1], [1, 0], [0, 1]], [[1], [0], [1]], [[True], [False]], [["0", "1"]] * 2])
def test_rows_that_could_be_labels_0_and_1_are_refused_if_all_have_the_same_length(folder: Path, rows: Any) -> None:
    with pytest.raises(DataError, match=facts("rows.jsonl:1", "labels:")):
        read(written(folder, rows))


@pytest.mark.parametrize(
    "rows", [[[0], [0, 1], []], [[1], [0], [2]], [["1"], ["0"]], [[14, 2], [3, 1]], [["a", "b"], []], [[], []]]
)
def test_lists_of_names_stay_lists_of_names(folder: Path, rows: Any) -> None:
    assert read(written(folder, rows)) == [[str(item) for item in row] for row in rows]


def test_labels_that_are_called_0_and_1_are_read_by_name_where_that_is_clear(folder: Path) -> None:
    assert read(written(folder, [[0], [1], [1, 0]]), names=("0", "1")) == [["0"], ["1"], ["1", "0"]]
    assert read(written(folder, [[1, 0, 1], [0, 0, 0]]), names=("1", "2", "3")) == [["1", "3"], []]
    with pytest.raises(DataError, match=facts("rows.jsonl:2", "labels:")):
        read(written(folder, [[0, 1], [1, 1]]), names=("0", "1"))


@pytest.mark.parametrize("row", [[1, 0], [1, 0, 0, 1], [1], [0.0, 1.0], [2, 0, 0], [-1, 1, 1], [0.5, 0.1, 0.9]])
def test_values_that_do_not_fit_the_labels_are_refused_with_their_place(folder: Path, row: list[Any]) -> None:
    with pytest.raises(DataError, match=facts("rows.jsonl:2", "'labels'")):
        read(written(folder, [[1, 0, 1], row]), names=NAMES)


def in_columns(spell: Any) -> list[dict[str, Any]]:
    return [{name: spell(name in labels) for name in NAMES} for labels in SETS]


@pytest.mark.parametrize("spell", [int, float, bool, str, lambda item: f"{item:.1f}", lambda item: str(item).upper()])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_a_column_for_each_label_is_read_as_the_labels_it_names(folder: Path, name: str, spell: Any) -> None:
    source = written(folder, in_columns(spell), name=name)
    assert read(source, columns={"labels": NAMES}) == SETS
    other = {"toxic": "t", "insult": "i", "threat": "x"}
    assert read(source, columns={"labels": NAMES}, names=("t", "i", "x")) == [
        [other[name] for name in labels] for labels in SETS
    ]
    assert read(source, columns={"labels": NAMES}, names=("threat", "toxic", "insult")) == SETS


@pytest.mark.parametrize("cell", ["2", "-1", "", "yes", "0.5"])
def test_a_column_of_a_label_has_0_and_1_only(folder: Path, cell: str) -> None:
    rows = [*in_columns(int), {"toxic": 0, "insult": cell, "threat": 1}]
    with pytest.raises(DataError, match=facts("rows.csv:7", "'insult'")):
        read(written(folder, rows, name="rows.csv"), columns={"labels": NAMES})


def test_a_missing_column_of_a_label_is_named(folder: Path) -> None:
    source = written(folder, in_columns(int), name="rows.csv")
    with pytest.raises(DataError, match=facts("rows.csv", "'insults'", "'insult'")):
        read(source, columns={"labels": ("toxic", "insults")})


@pytest.mark.parametrize("separator", [",", ";", "|", " ", ", "])
def test_a_separator_in_a_cell_parts_the_labels(folder: Path, separator: str) -> None:
    source = written(folder, [separator.join(labels) for labels in SETS], name="rows.csv")
    assert read(source, separator=separator) == SETS
    assert read(written(folder, ['["toxic", "a;b"]', "[]"], name="rows.csv"), separator=";") == [["toxic", "a;b"], []]
    assert read(written(folder, [["toxic", "a;b"], " x ; y ;"]), separator=";") == [["toxic", "a;b"], ["x", "y"]]


def test_a_separated_0_or_1_for_each_label_is_read_by_name_too(folder: Path) -> None:
    source = written(folder, ones("separated"), name="rows.csv")
    assert read(source, separator=";", names=NAMES) == SETS
    with pytest.raises(DataError, match=facts("rows.csv:2", "labels:")):
        read(source, separator=";")


@pytest.mark.parametrize("separator", [None, ","])
def test_a_list_as_python_prints_it_is_refused(folder: Path, separator: str | None) -> None:
    """With a separator its brackets and quotes would be parts of labels."""
    source = written(folder, [str(labels) for labels in SETS], name="rows.csv")
    with pytest.raises(DataError, match=facts("rows.csv:2", "'labels'", "double quotes")):
        read(source, separator=separator)


@pytest.mark.parametrize(
    ("keys", "columns", "stated"),
    [
        ({"label_separator": ";"}, {}, ["label_separator", "multilabel"]),
        ({}, {"label": ("a", "b")}, ["data.columns", "'label'"]),
        ({"multilabel": True}, {"text": ("a", "b")}, ["data.columns", "'text'"]),
        ({"multilabel": True, "label_separator": ";"}, {"labels": ("a", "b")}, ["label_separator", "column"]),
        ({"multilabel": True, "labels": ("x", "a")}, {"labels": ("a", "b")}, ["labels", "columns"]),
        ({"multilabel": True, "labels": ("x", "y", "z")}, {"labels": ("a", "b")}, ["labels", "columns"]),
    ],
)
def test_layouts_that_do_not_fit_the_recipe_are_refused(
    keys: dict[str, Any], columns: dict[str, Any], stated: list[str]
) -> None:
    recipe = recipe_of("classification").model_dump()
    recipe["data"]["columns"] = columns
    with pytest.raises(ValidationError) as caught:
        type(recipe_of("classification")).model_validate({**recipe, **keys})
    says("\n".join(error["msg"] for error in caught.value.errors()), *stated)


def test_columns_of_0_and_1_are_trained_on_and_measured(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(folder, in_columns(int) * 3)
    names = ["threat", "insult", "toxic"]
    columns = f"data.columns.labels=[{', '.join(names)}]"
    outcome = command_line("finetune", "recipe.yaml", "--set", columns, "--run", "run")
    assert outcome.code == 0, outcome.err
    config = json.loads((folder / "run/model/config.json").read_text())
    assert list(config["id2label"].values()) == names
    measured = llmkit.evaluate_model("run").scores.values
    assert command_line("evaluate", "--model", "run", "--data", "rows.jsonl", "--json").records[0]["scores"] == measured
    options = [part for name in NAMES for part in ("--column", f"labels={name}")]
    outcome = command_line("evaluate", "--model", "run/model", "--data", "rows.jsonl", *options, "--json")
    assert outcome.records[0]["scores"] == measured
    assert outcome.records[0]["columns"] == {"labels": list(NAMES)}
    numbers = written(folder, [[int(name in labels) for name in names] for labels in SETS] * 3, name="other.jsonl")
    assert llmkit.evaluate_model("run/model", data=[numbers]).scores.values == measured
    with pytest.raises(UsageError, match=facts("--column", "text", "a, b")):
        llmkit.evaluate_model("run", data=["rows.jsonl"], columns={"text": ("a", "b")})
    with pytest.raises(DataError, match=facts("bad.jsonl:1", "2 values", "3 labels")):
        llmkit.evaluate_model("run/model", data=[written(folder, [[1, 0]], name="bad.jsonl")])


def test_a_0_or_1_for_each_label_stops_a_training_without_names_and_not_one_with_names(folder: Path) -> None:
    written(folder, ones("whole numbers"))
    outcome = command_line("finetune", "recipe.yaml", "--run", "run")
    assert outcome.code == 3
    says(outcome.err, "error[data]:", "rows.jsonl:1", "labels:")
    outcome = command_line("finetune", "recipe.yaml", "--set", f"labels=[{', '.join(NAMES)}]", "--run", "run")
    assert outcome.code == 0, outcome.err
    says(outcome.err, "'toxic' 2", "'insult' 2", "'threat' 3")


# ---- evaluate --predictions

TOLD = [["toxic", "threat"], ["insult"], ["insult"], [], ["threat"]]


def score(folder: Path, told: Sequence[Any], right: Sequence[Any], *metrics: str) -> Mapping[str, float]:
    for name, rows in (("told", told), ("right", right)):
        records = [row if isinstance(row, dict) else {"labels": row} for row in rows]
        write_jsonl(folder / f"{name}.jsonl", records)
    return llmkit.score_files("told.jsonl", "right.jsonl", metrics=metrics or ("f1", "accuracy")).scores.values


def shares(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"labels": row, "probabilities": {name: float(name in row) for name in NAMES}} for row in rows]


@pytest.mark.parametrize("kind", KINDS[:3])
def test_files_with_a_0_or_1_for_each_label_are_scored_as_names_are(folder: Path, kind: str) -> None:
    expected = score(folder, TOLD, SETS)
    with_map = score(folder, shares(TOLD), SETS, "f1", "map")
    assert score(folder, shares(TOLD), ones(kind), "f1", "map") == pytest.approx(with_map)
    told = [[type(ones(kind)[0][0])(name in row) for name in NAMES] for row in TOLD]
    assert score(folder, told, ones(kind)) == pytest.approx(expected)


def test_a_0_or_1_for_each_label_is_refused_beside_names(folder: Path) -> None:
    with pytest.raises(DataError, match=facts("right.jsonl:1", "'labels'", "f1")):
        score(folder, TOLD, ones("whole numbers"))
    with pytest.raises(DataError, match=facts("right.jsonl:1", "2 values", "3 labels")):
        score(folder, shares(TOLD), [[1, 1]] * 5)

"""`evaluate --data` with rows whose columns have other names than those that the run was trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from builders import recipe_of
from facts import says
from tiny_recipes import llmkit as command_line
from tiny_recipes import rows, write_jsonl

import llmkit
from llmkit.errors import DataError, UsageError
from llmkit.recipe.blocks import DataBlock
from llmkit.training.splits import reading_as


@pytest.fixture
def mapped(own_runs: Path) -> Path:
    """A run whose recipe has `text` in `review` and `label` in `kind`, and new rows with a misleading `label`."""
    shutil.copytree("runs/classify-001", "runs/mapped")
    recipe = Path("runs/mapped/recipe.yaml")
    text = recipe.read_text()
    assert text.count("columns: {}") == 1
    recipe.write_text(text.replace("columns: {}", "columns: {text: review, label: kind}"))
    new = [{"body": row["text"], "kind": row["label"], "label": "food", "text": "ball"} for row in rows(20, seed=7)]
    write_jsonl(own_runs / "new.jsonl", new)
    return own_runs


def test_a_column_given_for_one_role_leaves_the_others_where_the_recipe_has_them(mapped: Path) -> None:
    one = llmkit.evaluate_model("runs/mapped", data=["new.jsonl"], columns={"text": "body"})
    both = llmkit.evaluate_model("runs/mapped", data=["new.jsonl"], columns={"text": "body", "label": "kind"})
    assert one.scores.values == both.scores.values
    assert one.scores.values["accuracy"] > 0.9
    (record,) = command_line(
        "evaluate", "--model", "runs/mapped", "--data", "new.jsonl", "--column", "text=body", "--json"
    ).records
    assert record["scores"] == pytest.approx(one.scores.values)


def test_a_given_column_overrides_that_of_the_recipe(mapped: Path) -> None:
    other = llmkit.evaluate_model("runs/mapped", data=["new.jsonl"], columns={"text": "body", "label": "label"})
    assert other.scores.values["majority_share"] == 1.0


def test_a_column_of_the_recipe_that_the_new_rows_lack_is_told_with_the_recipe(mapped: Path) -> None:
    with pytest.raises(DataError) as caught:
        llmkit.evaluate_model("runs/mapped", data=["new.jsonl"])
    message = str(caught.value)
    says(message, "'review'", "'body', 'kind', 'label', 'text'")
    assert "runs/mapped/recipe.yaml" in message
    assert '--column text="text"' in message


def test_a_missing_column_that_was_given_is_not_blamed_on_the_recipe(mapped: Path) -> None:
    with pytest.raises(DataError) as caught:
        llmkit.evaluate_model("runs/mapped", data=["new.jsonl"], columns={"text": "bodi"})
    says(str(caught.value), "'bodi'", "'body'")
    assert "recipe.yaml" not in str(caught.value)


@pytest.mark.parametrize("option", [("--column", "text=body"), ("--quoting", "none")])
def test_options_of_reading_without_rows_to_read_are_refused(mapped: Path, option: tuple[str, str]) -> None:
    outcome = command_line("evaluate", "--model", "runs/mapped", *option)
    assert outcome.code == 2
    assert f"{option[0]}: " in outcome.err


def test_a_role_with_two_columns_is_refused(mapped: Path) -> None:
    columns = ("--column", "text=body", "--column", "text=text")
    outcome = command_line("evaluate", "--model", "runs/mapped", "--data", "new.jsonl", *columns)
    assert outcome.code == 2
    assert "body" in outcome.err


def test_the_other_form_of_rows_takes_the_place_of_that_in_the_recipe() -> None:
    columns = {"prompt": "question", "input": "more", "response": "answer"}
    data = DataBlock(train=("rows.jsonl",), columns=columns)
    recipe = recipe_of("instruction").model_copy(update={"data": data})
    assert reading_as(recipe, columns={"messages": "turns"}, quoting=None).columns == {"messages": "turns"}
    assert reading_as(recipe, columns={"prompt": "ask"}, quoting=None).columns == {
        "prompt": "ask",
        "input": "more",
        "response": "answer",
    }


def test_the_recipe_says_how_quotes_are_read_until_an_option_does(mapped: Path) -> None:
    lines = [f'{row["label"]}\t"{row["text"]}"' for row in rows(6, seed=7)]
    (mapped / "new.tsv").write_text("\n".join(["kind\treview", *lines]) + "\n")
    with pytest.raises(DataError, match=r"data\.quoting"):
        llmkit.evaluate_model("runs/mapped", data=["new.tsv"])
    assert llmkit.evaluate_model("runs/mapped", data=["new.tsv"], quoting="csv").rows == 6
    recipe = Path("runs/mapped/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("quoting: auto", "quoting: none"))
    assert llmkit.evaluate_model("runs/mapped", data=["new.tsv"]).rows == 6
    with pytest.raises(UsageError, match="--quoting"):
        llmkit.evaluate_model("runs/mapped", quoting="csv")


def test_the_columns_of_all_roles_are_told(mapped: Path) -> None:
    arguments = ("evaluate", "--model", "runs/mapped", "--data", "new.jsonl", "--column", "text=body", "--json")
    outcome = command_line(*arguments)
    assert outcome.records[0]["columns"] == {"text": "body", "label": "kind"}
    says(outcome.err, "text 'body'", "label 'kind'")

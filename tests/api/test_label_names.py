"""Labels that two files write differently are never a score of 0 without a word."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from facts import facts, logged
from tiny_recipes import llmkit as command_line

import llmkit
from llmkit.errors import DataError, LlmkitError, UsageError

MADE_UP, IDS, NAMES = ["LABEL_0", "LABEL_1", "LABEL_1"], [0, 1, 1], ["neg", "pos", "pos"]
TO_NAMES = {"LABEL_0": "neg", "LABEL_1": "pos", "0": "neg", "1": "pos"}


def written(path: Path, column: str, values: list[Any], **others: list[Any]) -> Path:
    columns = {column: values, **others}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def score(folder: Path, predictions: list[Any], references: list[Any], metric: str, **options: Any) -> dict[str, float]:
    sides = written(folder / "p.jsonl", "prediction", predictions), written(folder / "r.jsonl", "reference", references)
    return llmkit.score_files(*sides, metrics=[metric], **options).scores.values


DIFFERENT = [(MADE_UP, NAMES), (MADE_UP, IDS), (NAMES, IDS), (IDS, NAMES), (NAMES, MADE_UP), (IDS, MADE_UP)]


@pytest.mark.parametrize("metric", ["accuracy", "precision", "recall", "f1", "mcc", "confusion"])
@pytest.mark.parametrize(("predictions", "references"), DIFFERENT)
def test_names_ids_and_made_up_labels_are_not_compared_with_each_other(
    predictions: list[Any], references: list[Any], metric: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=facts(metric, predictions[0], references[0], "--label")):
        score(tmp_path, predictions, references, metric)


@pytest.mark.parametrize(("predictions", "references"), DIFFERENT)
def test_label_names_say_which_are_the_same(predictions: list[Any], references: list[Any], tmp_path: Path) -> None:
    assert score(tmp_path, predictions, references, "accuracy", label_names=TO_NAMES)["accuracy"] == 1
    lists = [[[label] for label in side] for side in (predictions, references)]
    assert score(tmp_path, *lists, "f1", label_names=TO_NAMES)["f1_macro"] == 1


def test_several_labels_with_probabilities_are_checked_and_renamed(tmp_path: Path) -> None:
    probabilities = [{"LABEL_0": 0.4, "LABEL_1": 0.3}, {"LABEL_0": 0.1, "LABEL_1": 0.45}]
    predictions: list[Any] = [{"labels": [], "probabilities": row} for row in probabilities]
    references = [["neg"], ["pos"]]
    with pytest.raises(DataError, match=facts("map", "LABEL_0", "--label")):
        score(tmp_path, predictions, references, "map")
    assert score(tmp_path, predictions, references, "map", label_names=TO_NAMES)["map"] == 1
    with pytest.raises(UsageError, match=facts("--label")):
        score(tmp_path, predictions, references, "map", label_names={"LABEL_0": "pos", "LABEL_1": "pos"})


@pytest.mark.parametrize("metric", ["tag_accuracy", "entities"])
def test_made_up_tags_are_not_compared_with_names(metric: str, tmp_path: Path) -> None:
    predictions, references = [["LABEL_0", "LABEL_1"]], [["O", "B-PER"]]
    with pytest.raises(DataError, match=facts(metric, "LABEL_0", "--label")):
        score(tmp_path, predictions, references, metric)
    names = {"LABEL_0": "O", "LABEL_1": "B-PER"}
    values = score(tmp_path, predictions, references, metric, label_names=names)
    assert values["tag_accuracy" if metric == "tag_accuracy" else "entity_f1"] == 1


def test_names_of_which_none_is_in_both_files_are_a_score_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert score(tmp_path, ["neg", "neg"], ["pos", "pos"], "accuracy")["accuracy"] == 0
    assert len(logged(caplog, "WARNING", "accuracy", "'neg'", "'pos'")) == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        score(tmp_path, ["neg", ""], ["pos", "neg"], "accuracy")
    assert not caplog.records


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--label", "LABEL_0=neg", "--label", "LABEL_1=pos"], 0),
        ([], 3),
        (["--label", "LABEL_0"], 2),
        (["--label", "LABEL_0=neg", "--label", "LABEL_0=pos"], 2),
        (["--language", "klingon"], 2),
    ],
)
def test_the_command_takes_names_for_labels(options: list[str], code: int, tmp_path: Path) -> None:
    predictions = written(tmp_path / "out.jsonl", "label", MADE_UP, text=["a", "b", "c"])
    references = written(tmp_path / "test.jsonl", "label", NAMES, text=["a", "b", "c"])
    files = ["--predictions", str(predictions), "--references", str(references)]
    outcome = command_line("evaluate", *files, "--metric", "accuracy", "--json", *options)
    assert outcome.code == code, outcome.err
    if code == 0:
        assert json.loads(outcome.out)["scores"]["accuracy"] == 1


def test_options_of_files_are_refused_with_a_model() -> None:
    for options in (["--label", "a=b"], ["--language", "ja"]):
        outcome = command_line("evaluate", "--model", "x", *options)
        assert outcome.code == 2
        assert options[0] in outcome.err


def test_a_language_decides_what_bleu_counts_as_words(tmp_path: Path) -> None:
    sides = written(tmp_path / "p.jsonl", "prediction", ["abc de"]), written(tmp_path / "r.jsonl", "reference", ["abc"])
    details = llmkit.score_files(*sides, metrics=["bleu"], language="Thai").scores.details
    assert details["bleu"]["words"]["tokenizer"] == "char"
    with pytest.raises(LlmkitError, match=facts("--language", "'klingon'")):
        llmkit.score_files(*sides, metrics=["bleu"], language="klingon")

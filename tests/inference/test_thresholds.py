"""The least probability of a label in use, for all labels or one, and how it is tuned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import LABELS, recipe_of, task_of, tiny_model
from facts import facts, says
from pydantic import ValidationError
from tiny_recipes import llmkit as command_line

from llmkit.api.model import Model
from llmkit.errors import ModelError, UsageError
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.export import model_files
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.classification.saved import SavedClassification
from llmkit.tasks.classification.thresholds import parse_thresholds

TEXTS = ["the cat sees", "a red dog", "quiet morning light"]


def loaded_for(*, saved: Any = None, labels: tuple[str, ...] = LABELS) -> LoadedModel:
    loaded = tiny_model("bert", head="classification", labels=labels)
    loaded.model.config.problem_type = "multi_label_classification"
    SavedClassification(pairs=False, threshold=saved).save(loaded)
    loaded.model.eval()
    return loaded


def model_of(loaded: LoadedModel) -> Model:
    return Model(loaded, TransformersEngine(loaded, device=torch.device("cpu")), head="classification")


@pytest.mark.parametrize(
    ("saved", "given", "used"),
    [
        (None, None, 0.5),
        (0.4, None, 0.4),
        (0.4, 0.0, 0.0),
        (0.4, 1, 1.0),
        (0.4, {"bad": 0.9}, {"bad": 0.9, "fair": 0.4, "good": 0.4}),
        ({"bad": 0.1, "fair": 0.2, "good": 0.3}, None, {"bad": 0.1, "fair": 0.2, "good": 0.3}),
        ({"bad": 0.1, "fair": 0.2, "good": 0.3}, {"good": 1}, {"bad": 0.1, "fair": 0.2, "good": 1.0}),
        ({"bad": 0.1, "fair": 0.2, "good": 0.3}, 0.7, 0.7),
    ],
)
def test_a_given_threshold_replaces_that_of_the_model(saved: Any, given: Any, used: Any) -> None:
    for result in model_of(loaded_for(saved=saved)).classify(TEXTS, threshold=given):
        assert result.threshold == used
        limits: Mapping[str, float] = used if isinstance(used, dict) else dict.fromkeys(LABELS, used)
        assert result.labels == [name for name, share in result.probabilities.items() if share >= limits[name]]


@pytest.mark.parametrize(
    ("given", "stated"),
    [
        (1.5, ["1.5", "0 to 1"]),
        (-0.1, ["-0.1"]),
        (float("nan"), ["nan"]),
        (True, ["True"]),
        ({"good": 2}, ["'good'", 2]),
        ({"goood": 0.5}, ["'goood'", "'good'"]),
    ],
)
def test_a_threshold_that_cannot_be_is_refused_before_the_first_text(given: Any, stated: list[object]) -> None:
    with pytest.raises(UsageError, match=facts(*stated)):
        model_of(loaded_for()).classify(TEXTS, threshold=given)


def test_a_model_of_one_label_has_no_threshold() -> None:
    model = model_of(tiny_model("bert", head="classification"))
    with pytest.raises(UsageError, match=facts("threshold", "tiny-bert")):
        model.classify(TEXTS, threshold=0.5)
    assert next(model.classify(TEXTS)).threshold is None


def test_a_damaged_threshold_in_a_config_is_an_error() -> None:
    loaded = loaded_for()
    loaded.model.config.task_specific_params = {"classification": {"threshold": {"good": 3}}}
    with pytest.raises(ModelError, match=facts("threshold")):
        list(model_of(loaded).classify(TEXTS))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], None),
        (["0.5"], 0.5),
        (["spam=0.3"], {"spam": 0.3}),
        (["spam=0.3", "0.5"], {"spam": 0.3, "a=b": 0.5}),
        (["a=b=0.2", "0"], {"spam": 0.0, "a=b": 0.2}),
    ],
)
def test_options_become_one_threshold_or_one_for_each_label(options: list[str], expected: Any) -> None:
    assert parse_thresholds(options, ("spam", "a=b")) == expected


@pytest.mark.parametrize(
    "options", [["x"], ["spam="], ["=0.5"], ["0.5", "0.6"], ["spam=0.1", "spam=0.2"], ["nan"], ["spam=1.1"], ["-1"]]
)
def test_options_that_are_no_thresholds_are_refused(options: list[str]) -> None:
    with pytest.raises(UsageError, match="threshold"):
        parse_thresholds(options, ("spam",))


def test_the_command_takes_thresholds_and_writes_the_one_it_used(tmp_path: Path) -> None:
    for name, content in model_files(loaded_for(saved=0.4)).items():
        (tmp_path / name).write_bytes(content)

    def record(*options: str) -> Any:
        outcome = command_line("classify", TEXTS[0], "--model", tmp_path, "--json", *options)
        assert outcome.code == 0, outcome.err
        return outcome.records[0]

    assert record()["threshold"] == 0.4
    everything = record("--threshold", "0")
    assert (everything["labels"], everything["threshold"]) == (list(LABELS), 0.0)
    good = record("--threshold", "1", "--threshold", "good=0")
    assert (good["labels"], good["threshold"]) == (["good"], {"bad": 1.0, "fair": 1.0, "good": 0.0})
    outcome = command_line("classify", TEXTS[0], "--model", tmp_path, "--threshold", "goood=0.5")
    assert outcome.code == 2
    says(outcome.err, "error[usage]:", "'goood'", "'good'")


# ---- tuning


def test_a_threshold_for_each_label_has_the_best_f1_of_that_label_and_is_saved() -> None:
    shares = [(0.9, 0.3), (0.8, 0.2), (0.7, 0.1), (0.6, 0.05)]
    predictions = [{"labels": [], "probabilities": {"bad": bad, "fair": fair, "good": 0.0}} for bad, fair in shares]
    references = [["bad", "fair"], ["bad", "fair"], [], []]
    for kind in ("shared", "per-label"):
        task = task_of("classification", loaded=loaded_for(), multilabel=True, threshold=kind)
        tuned = task.tune_threshold(predictions, references)
        saved: Any = SavedClassification.load(task.loaded).threshold
        assert saved == task.threshold
        if kind == "shared":
            assert isinstance(saved, float)
            assert [row["labels"] for row in tuned] != references
        else:
            assert (saved["bad"], saved["fair"]) == pytest.approx((0.75, 0.15))
            assert set(saved) == set(LABELS)  # a label without a row has the one of all labels
            assert [row["labels"] for row in tuned] == references


def test_rows_without_any_label_leave_the_threshold_as_it_is() -> None:
    task = task_of("classification", loaded=loaded_for(saved=0.4), multilabel=True, threshold="per-label")
    predictions = [{"labels": [], "probabilities": dict.fromkeys(LABELS, 0.3)}]
    assert task.tune_threshold(predictions, [[]]) == predictions
    assert task.threshold == 0.4


def test_thresholds_are_for_many_labels_only() -> None:
    with pytest.raises(ValidationError, match="threshold"):
        recipe_of("classification", threshold="per-label")

"""Temperatures and limits that a classifier chooses on validation rows, as numbers and through its task."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from builders import LABELS, recipe_of, rows, task_of, tiny_model
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.special import expit, softmax
from scipy.stats import beta

from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.tasks.classification.calibration import fit_abstention, fit_temperature
from llmkit.tasks.classification.saved import SavedClassification
from llmkit.tasks.classification.scores import calibrated
from llmkit.tasks.multiple_choice.choices import Question
from llmkit.tasks.multiple_choice.predict import choose
from llmkit.tasks.multiple_choice.probabilities import (
    calibrated_choices,
    choice_shares,
    fit_choice_temperature,
    predicted_choices,
)
from llmkit.tasks.multiple_choice.saved import SavedMultipleChoice
from llmkit.tasks.predicted_label import PredictedLabel

SINGLE, MANY = "single_label_classification", "multi_label_classification"


def drawn(problem: Any, *, temperature: float, count: int = 4000) -> tuple[NDArray[Any], NDArray[Any]]:
    """Probabilities whose logits are too large by a factor, and targets drawn from the right ones."""
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(count, 3)) * 2
    if problem == MANY:
        return expit(logits * temperature), rng.random((count, 3)) < expit(logits)
    chosen = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return softmax(logits * temperature, axis=1), np.eye(3, dtype=bool)[chosen]


@pytest.mark.parametrize("problem", [SINGLE, MANY])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_factor_by_which_logits_are_too_large_is_found(problem: Any, temperature: float) -> None:
    shares, targets = drawn(problem, temperature=temperature)
    assert fit_temperature(shares, targets, problem) == pytest.approx(temperature, rel=0.06)


@pytest.mark.parametrize("problem", [SINGLE, MANY])
def test_a_temperature_divides_the_logits(problem: Any) -> None:
    logits = np.array([[2.0, -1.0, 0.5], [300.0, -300.0, 0.0], [30.0, 30.0, -30.0]])
    of = (lambda values: softmax(values, axis=1)) if problem == SINGLE else expit
    np.testing.assert_allclose(calibrated(of(logits), problem, 2.0)[0], of(logits / 2)[0], rtol=1e-12)
    assert np.isfinite(calibrated(of(logits), problem, 0.01)).all()
    assert calibrated(of(logits), problem, None) is not None


@pytest.mark.parametrize("problem", [SINGLE, MANY])
def test_rows_that_are_all_right_fit_no_temperature(problem: Any) -> None:
    shares = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1]])
    targets = np.array([[True, False, False], [False, True, False]])
    assert fit_temperature(shares, targets, problem) is None
    targets[1] = [True, False, False]
    assert fit_temperature(shares, targets, problem) is not None


def test_a_limit_is_the_lowest_whose_bound_reaches_the_accuracy() -> None:
    rng = np.random.default_rng(1)
    confidences = rng.random(1000) / 2 + 0.5
    correct = rng.random(1000) < confidences
    limit = fit_abstention(confidences, correct, accuracy=0.8)
    assert limit is not None
    kept = confidences >= limit
    level = 0.05 / 20
    bound = beta.ppf(level, correct[kept].sum(), (~correct[kept]).sum() + 1)
    assert bound >= 0.8
    more = np.sort(confidences)[::-1][: int(kept.sum()) + 50]
    wider = confidences >= more[-1]
    assert beta.ppf(level, correct[wider].sum(), (~correct[wider]).sum() + 1) < 0.8
    assert limit not in confidences


def test_a_model_that_is_good_enough_answers_every_row_and_few_rows_prove_nothing() -> None:
    confidences, right = np.linspace(0.5, 1, 400), np.ones(400, dtype=bool)
    assert fit_abstention(confidences, right, accuracy=0.95) == 0.0
    assert fit_abstention(confidences[:20], right[:20], accuracy=0.95) is None
    assert fit_abstention(confidences, ~right, accuracy=0.5) is None


def test_rows_of_equal_probability_are_answered_alike() -> None:
    confidences = np.array([0.9] * 300 + [0.6] * 300)
    correct = np.array([True] * 300 + [False] * 300)
    assert fit_abstention(confidences, correct, accuracy=0.9) == pytest.approx(0.75)
    correct[:150] = False
    assert fit_abstention(confidences, correct, accuracy=0.9) is None


def test_a_predicted_label_survives_a_copy_and_is_the_text() -> None:
    label = PredictedLabel("good", LABELS, np.array([0.1, 0.2, 0.7]), abstained=True)
    for same in (label, copy.copy(label), copy.deepcopy(label)):
        assert same == "good"
        assert (same.confidence, same.abstained) == (0.7, True)
        assert same.probabilities == {"bad": 0.1, "fair": 0.2, "good": 0.7}


# ---- through the task


def tuned_task(**keys: Any) -> Any:
    return task_of("classification", loaded=tiny_model("bert", head="classification", labels=LABELS), **keys)


def engine_of(task: Any) -> TransformersEngine:
    return TransformersEngine(task.loaded, device=torch.device("cpu"))


def validate(task: Any, *, count: int = 60) -> tuple[list[Any], list[Any], Any]:
    """Predictions before and after the task tunes itself, and the rows."""
    examples = task.encode(rows(count))
    task.reset_tuning()
    before = task.predict(examples, engine_of(task))
    return before, task.tune_threshold(before, examples.references), examples


def test_calibrating_keeps_every_label_and_is_saved_with_the_model() -> None:
    task = tuned_task(calibrate="temperature")
    before, after, examples = validate(task)
    saved = SavedClassification.load(task.loaded)
    assert saved.temperature is not None
    assert task.tuned == {"temperature": saved.temperature}
    assert after == before
    assert [row.probabilities for row in after] != [row.probabilities for row in before]
    again = task.predict(examples, engine_of(task))
    assert [row.probabilities for row in again] == [row.probabilities for row in after]
    assert validate(task)[1] == after
    assert SavedClassification.load(task.loaded).temperature == saved.temperature  # from the same probabilities


def test_a_threshold_is_tuned_on_calibrated_probabilities() -> None:
    task = tuned_task(multilabel=True, calibrate="temperature")
    shares, targets = drawn(MANY, temperature=4.0, count=500)
    predictions = [{"labels": [], "probabilities": dict(zip(LABELS, row, strict=True))} for row in shares.tolist()]
    references = [[name for name, has in zip(LABELS, row, strict=True) if has] for row in targets]
    task.reset_tuning()
    after = task.tune_threshold(predictions, references)
    temperature, threshold = task.tuned["temperature"], task.tuned["threshold"]
    assert temperature == pytest.approx(4, rel=0.3)
    for row, expected in zip(after, calibrated(shares, MANY, temperature), strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(expected.tolist())
        assert row["labels"] == [name for name, share in row["probabilities"].items() if share >= threshold]
    plain = tuned_task(multilabel=True)
    plain.reset_tuning()
    assert [row["labels"] for row in plain.tune_threshold(predictions, references)] == [row["labels"] for row in after]


def test_a_model_that_reaches_its_accuracy_nowhere_abstains_from_all_rows(caplog: pytest.LogCaptureFixture) -> None:
    task = tuned_task(abstain={"accuracy": 0.99})
    before, after, _ = validate(task)
    assert [row.abstained for row in after] == [True] * len(before)
    assert SavedClassification.load(task.loaded).abstain_limit == math.inf
    assert "abstain" in caplog.text


@pytest.mark.parametrize(
    "keys",
    [
        {"calibrate": "temperature", "regression": True},
        {"abstain": {"accuracy": 0.9}, "multilabel": True},
        {"abstain": {"accuracy": 0.9}, "regression": True},
        {"abstain": {"accuracy": 1.0}},
        {"abstain": {}},
        {"calibrate": "isotonic"},
    ],
)
def test_a_recipe_that_cannot_be_calibrated_or_abstain_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"calibrate|abstain"):
        recipe_of("classification", **keys)


def test_what_a_recipe_chooses_is_also_measured() -> None:
    chosen = recipe_of("classification", calibrate="temperature", abstain={"accuracy": 0.9})
    assert {"ece", "selective"} <= set(chosen.metrics)
    explicit = chosen.model_copy(update={"evaluation": chosen.evaluation.model_copy(update={"metrics": ("accuracy",)})})
    assert explicit.metrics == ("accuracy", "ece", "selective")


# ---- choices


def drawn_choices(*, temperature: float, count: int = 4000) -> tuple[list[NDArray[Any]], list[str]]:
    """Probabilities of 2 to 4 choices whose scores are too large by a factor, and answers drawn from the right ones."""
    rng = np.random.default_rng(3)
    scores = [rng.normal(size=2 + number % 3) * 2 for number in range(count)]
    answers = [str(rng.choice(len(row), p=softmax(row))) for row in scores]
    return [choice_shares(row * temperature, None) for row in scores], answers


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_the_temperature_of_choices_ignores_those_that_a_question_does_not_have(temperature: float) -> None:
    rows, answers = drawn_choices(temperature=temperature)
    found = fit_choice_temperature(predicted_choices(rows), answers)
    assert found == pytest.approx(temperature, rel=0.06)
    for row, before, after in zip(
        rows, predicted_choices(rows), calibrated_choices(predicted_choices(rows), found), strict=True
    ):
        assert after == before
        assert after.shares[: len(row)] == pytest.approx(softmax(np.log(row) / found))
        assert not after.shares[len(row) :].any()


def test_choices_that_are_all_right_or_impossible_give_a_finite_temperature_or_none() -> None:
    rows = [np.array([0.9, 0.1]), np.array([0.2, 0.3, 0.5])]
    assert fit_choice_temperature(predicted_choices(rows), ["0", "2"]) is None
    impossible = fit_choice_temperature(predicted_choices([np.array([1.0, 0.0]), *rows]), ["1", "0", "2"])
    assert impossible is not None
    assert math.isfinite(impossible)


def test_a_calibrated_question_keeps_its_choice_and_the_temperature_is_saved() -> None:
    task = task_of("multiple-choice", calibrate="temperature")
    before, after, examples = validate(task)
    temperature = SavedMultipleChoice.load(task.loaded).temperature
    assert temperature is not None
    assert task.tuned == {"temperature": temperature}
    assert after == before
    assert [row.probabilities for row in task.predict(examples, engine_of(task))] == [
        {name: pytest.approx(share) for name, share in row.probabilities.items()} for row in after
    ]
    questions = [row.fields for row in rows(60)]
    asked = [
        Question(tuple(fields["choices"]), fields.get("context", ""), fields.get("question", ""))
        for fields in questions
    ]
    for found, row in zip(choose(task.loaded, engine_of(task), asked), after, strict=True):
        assert found.probabilities == pytest.approx(row.shares[: len(found.probabilities)], abs=1e-6)
        assert str(found.index) == row
    assert {"ece"} <= set(recipe_of("multiple-choice", calibrate="temperature").metrics)
    plain = recipe_of("multiple-choice", **task.recipe.keys_of_model(task.loaded))
    assert plain.calibrate == "temperature"


def test_another_training_of_a_calibrated_model_starts_without_its_temperature() -> None:
    task = task_of("multiple-choice", calibrate="temperature")
    validate(task)
    again = task_of("multiple-choice", loaded=task.loaded)
    assert SavedMultipleChoice.load(again.loaded).temperature is None


@pytest.mark.parametrize("task", ["token-classification", "question-answering", "summarization"])
def test_tasks_without_probabilities_of_labels_have_no_temperature(task: str) -> None:
    with pytest.raises(ValidationError, match="calibrate"):
        recipe_of(task, calibrate="temperature")

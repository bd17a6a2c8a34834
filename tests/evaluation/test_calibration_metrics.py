"""The metrics of probabilities: their values by hand and by scikit-learn, their table of bins, their files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facts import facts
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

import llmkit
from llmkit.errors import DataError, UsageError
from llmkit.evaluation.metrics import row_statistics, score_texts
from llmkit.evaluation.metrics.calibration import ece
from llmkit.tasks.predicted_label import PredictedLabel

NAMES = ("a", "b", "c")


def labels_of(shares: Any, *, abstain_below: float | None = None) -> list[PredictedLabel]:
    return [
        PredictedLabel(
            NAMES[row.argmax()],
            NAMES,
            row,
            abstained=None if abstain_below is None else bool(row.max() < abstain_below),
        )
        for row in np.asarray(shares)
    ]


def drawn(count: int, *, factor: float = 1.0, seed: int = 0) -> tuple[list[PredictedLabel], list[str]]:
    """Predictions with logits that are too large by a factor, and labels drawn from the right probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 3)) * 1.5
    chosen = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return labels_of(softmax(logits * factor, axis=1)), [NAMES[index] for index in chosen]


def test_ece_is_the_gap_of_each_bin_by_its_share_of_rows() -> None:
    shares = [[0.6, 0.3, 0.1]] * 10 + [[0.9, 0.05, 0.05]] * 30
    references = ["a"] * 5 + ["b"] * 5 + ["a"] * 30
    scores = ece(labels_of(shares), references)
    assert scores.values["ece"] == pytest.approx((10 * 0.1 + 30 * 0.1) / 40)
    low, high = scores.details["reliability"]["bins"]
    assert (low["rows"], low["accuracy"], low["confidence"]) == (10, 0.5, pytest.approx(0.6))
    assert (high["rows"], high["accuracy"], high["confidence"]) == (30, 1.0, pytest.approx(0.9))


def test_bins_have_equal_numbers_of_rows_and_few_rows_have_few_bins() -> None:
    for count, bins in ((3000, 15), (100, 10), (25, 2), (5, 1)):
        table = ece(*drawn(count)).details["reliability"]["bins"]
        assert len(table) == bins
        assert sum(row["rows"] for row in table) == count
        assert max(row["rows"] for row in table) - min(row["rows"] for row in table) <= 1
        assert all(row["low"] <= row["confidence"] <= row["high"] for row in table)


def test_right_probabilities_have_the_ece_that_chance_gives_and_wrong_ones_more() -> None:
    right = [ece(*drawn(300, seed=seed)) for seed in range(30)]
    mean = np.mean([scores.values["ece"] for scores in right])
    expected = np.mean([scores.details["reliability"]["ece_if_calibrated"] for scores in right])
    assert mean == pytest.approx(expected, rel=0.15)
    assert ece(*drawn(300, factor=4)).values["ece"] > 2 * expected


def test_brier_and_nll_are_those_of_scikit_learn() -> None:
    predictions, references = drawn(200)
    shares = np.array([row.shares for row in predictions])
    scores = score_texts(["brier", "nll"], predictions, references).values
    assert scores["nll"] == pytest.approx(log_loss(references, shares, labels=NAMES))
    assert scores["brier"] == pytest.approx(
        brier_score_loss(np.array(references), shares, labels=list(NAMES), scale_by_half=False)
    )
    certain = labels_of([[1.0, 0.0, 0.0]])
    assert score_texts(["brier", "nll"], certain, ["a"]).values == {"brier": 0.0, "nll": 0.0}
    assert score_texts(["brier", "nll"], certain, ["b"]).values == {"brier": 2.0, "nll": math.inf}


def test_of_many_labels_each_is_measured() -> None:
    predictions = [{"labels": ["a"], "probabilities": {"a": 0.8, "b": 0.4}}] * 5
    references = [["a"], ["a"], ["a"], ["a"], ["b"]]
    scores = score_texts(["ece", "brier", "nll"], predictions, references)
    assert scores.details["reliability"]["unit"] != "rows"
    assert sum(row["rows"] for row in scores.details["reliability"]["bins"]) == 10
    assert scores.values["brier"] == pytest.approx((4 * 0.2**2 + 0.8**2 + 4 * 0.4**2 + 0.6**2) / 10)
    assert scores.values["nll"] == pytest.approx(
        -(4 * math.log(0.8) + math.log(0.2) + 4 * math.log(0.6) + math.log(0.4)) / 10
    )


def test_the_accuracy_of_answered_rows_leaves_the_others_out() -> None:
    shares = [[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.4, 0.3, 0.3]]
    scores = score_texts(["selective", "accuracy"], labels_of(shares, abstain_below=0.6), ["a", "b", "a", "b"]).values
    assert (scores["coverage"], scores["selective_accuracy"], scores["accuracy"]) == (0.5, 0.5, 0.5)
    none = score_texts(["selective"], labels_of(shares, abstain_below=1), list("abab"))
    assert none.values == {"coverage": 0.0, "selective_accuracy": 0.0}
    assert "selective_accuracy" in none.details["undefined"]


@pytest.mark.parametrize("metric", ["ece", "brier", "nll", "selective"])
def test_labels_without_probabilities_are_refused(metric: str) -> None:
    with pytest.raises(DataError, match=facts(metric)):
        score_texts([metric], ["a", "b"], ["a", "b"])


def test_a_resample_of_rows_has_the_scores_of_these_rows_in_the_bins_of_all() -> None:
    predictions, references = drawn(80)
    shares = [row.shares for row in predictions]
    predictions = labels_of(shares, abstain_below=0.6)
    metrics = ["ece", "brier", "nll", "selective"]
    weights = np.stack([np.ones(80), np.bincount(np.random.default_rng(1).integers(0, 80, 80), minlength=80)])
    own, resampled = (
        {
            name: values[index]
            for name, values in row_statistics(metrics, predictions, references).resampled(weights).items()
        }
        for index in (0, 1)
    )
    assert own == pytest.approx(score_texts(metrics, predictions, references).values)
    rows = np.repeat(np.arange(80), weights[1].astype(int))
    again = score_texts(metrics[1:], [predictions[row] for row in rows], [references[row] for row in rows]).values
    assert {name: resampled[name] for name in again} == pytest.approx(again)
    assert 0 < resampled["ece"] < 0.5


# ---- files


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_results_of_classify_are_measured_whatever_the_order_of_their_labels(tmp_path: Path) -> None:
    predictions, references = drawn(60)
    lines = []
    for number, row in enumerate(predictions):
        shares = sorted(row.probabilities.items(), reverse=number % 2 == 0)
        lines.append({"text": "x", "label": str(row), "probabilities": dict(shares), "truncated_tokens": 0})
    found = write(tmp_path / "found.jsonl", lines)
    gold = write(tmp_path / "gold.jsonl", [{"text": "x", "label": label} for label in references])
    metrics = ["ece", "brier", "nll", "accuracy"]
    scores = llmkit.score_files(found, gold, metrics=metrics).scores
    assert scores.values == pytest.approx(score_texts(metrics, predictions, references).values)


def test_abstained_results_are_no_labels_but_have_probabilities(tmp_path: Path) -> None:
    shared = {"probabilities": {"a": 0.7, "b": 0.3}, "abstain_below": 0.8}
    lines: list[dict[str, Any]] = [
        {"label": "a", "abstained": False, "best_guess": "a", **shared},
        {"label": None, "abstained": True, "best_guess": "a", **shared},
    ]
    found = write(tmp_path / "found.jsonl", lines)
    gold = write(tmp_path / "gold.jsonl", [{"label": "a"}, {"label": "b"}])
    scores = llmkit.score_files(found, gold, metrics=["selective", "ece"]).scores.values
    assert (scores["coverage"], scores["selective_accuracy"]) == (0.5, 1.0)
    assert scores["ece"] == pytest.approx(0.2)
    with pytest.raises(DataError, match=facts("found.jsonl:2", "accuracy")):
        llmkit.score_files(found, gold, metrics=["accuracy"])


def test_labels_get_other_names_with_their_probabilities(tmp_path: Path) -> None:
    line = {"label": "LABEL_1", "probabilities": {"LABEL_0": 0.2, "LABEL_1": 0.8}}
    found = write(tmp_path / "found.jsonl", [line])
    gold = write(tmp_path / "gold.jsonl", [{"label": "good"}])
    names = {"LABEL_0": "bad", "LABEL_1": "good"}
    scores = llmkit.score_files(found, gold, metrics=["nll", "accuracy"], label_names=names).scores.values
    assert scores["nll"] == pytest.approx(-math.log(0.8))
    assert scores["accuracy"] == 1
    with pytest.raises(UsageError, match="--label"):
        llmkit.score_files(found, gold, metrics=["nll"], label_names={"LABEL_0": "good", "LABEL_1": "good"})


@pytest.mark.parametrize(
    "line",
    [
        {"label": "a"},
        {"label": "a", "probabilities": [0.7, 0.3]},
        {"label": "a", "probabilities": {"b": 0.7}},
        {"label": "a", "probabilities": {"a": "high"}},
    ],
)
def test_a_result_whose_label_has_no_probability_is_an_error(line: dict[str, Any], tmp_path: Path) -> None:
    found = write(tmp_path / "found.jsonl", [line])
    gold = write(tmp_path / "gold.jsonl", [{"label": "a"}])
    with pytest.raises(DataError, match=facts("found.jsonl")):
        llmkit.score_files(found, gold, metrics=["ece"], prediction_column="label")

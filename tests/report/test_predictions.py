"""One pass over the predictions: right and wrong, pairs of labels, bins of confidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmkit.report.predictions import digest_predictions, is_right, value_kind


def write_lines(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        (["loss", "accuracy", "f1_macro"], "label or labels"),
        (["mse", "pearson"], "number"),
        (["entity_f1"], "entities"),
        (["exact_match", "answer_f1"], "answer"),
        (["loss", "bleu"], "text"),
        (["loss", "perplexity"], "any"),
        (["evaluate:thing"], "any"),
    ],
)
def test_the_scores_say_what_is_predicted(scores: list[str], kind: str) -> None:
    assert value_kind(scores) == kind


@pytest.mark.parametrize(
    ("prediction", "reference", "kind", "right"),
    [
        ("a", "a", "label or labels", True),
        (["b", "a"], ["a", "b"], "label or labels", True),
        ({"labels": []}, [], "labels with probabilities", True),
        ({"labels": ["a"]}, [], "labels with probabilities", False),
        ("", [], "answer", True),
        ("x", [], "answer", False),
        ("x", ["y", "x"], "answer", True),
        ("x", ["y", "x"], "text", True),
        (1.0, 1.0, "number", None),
        (["O"], ["O", "O"], "tags", False),
    ],
)
def test_right_is_exactly_right(prediction: Any, reference: Any, kind: str, right: bool | None) -> None:
    assert is_right(prediction, reference, kind=kind) is right


def test_the_calibration_error_is_the_gap_of_each_bin_weighted_by_its_rows(tmp_path: Path) -> None:
    sure = [{"prediction": "a", "reference": "a", "probabilities": {"a": 0.95, "b": 0.05}}] * 3
    unsure = [{"prediction": "a", "reference": "b", "probabilities": {"a": 0.55, "b": 0.45}}]
    digest = digest_predictions(write_lines(tmp_path / "p.jsonl", *sure, *unsure), kind="label or labels")
    assert digest.calibration_error == pytest.approx((3 * 0.05 + 0.55) / 4)
    assert digest.pairs == {("a", "a"): 3, ("b", "a"): 1}
    assert (digest.rows, digest.wrong) == (4, 1)


def test_a_certain_row_is_in_the_last_bin_and_an_impossible_probability_in_none(tmp_path: Path) -> None:
    lines = [{"prediction": "a", "reference": "a", "probabilities": {"a": value}} for value in (1.0, 1.5, None, "x")]
    digest = digest_predictions(write_lines(tmp_path / "p.jsonl", *lines), kind="label or labels")
    assert [group.rows for group in digest.bins] == [0] * 9 + [1]


def test_the_rows_to_show_are_few_and_the_same_each_time(tmp_path: Path) -> None:
    lines = [{"prediction": "a", "reference": "ab"[number % 2], "loss": number % 97} for number in range(5000)]
    path = write_lines(tmp_path / "p.jsonl", *lines)
    first, second = (digest_predictions(path, kind="label or labels", cut=range(5000)) for _ in range(2))
    assert first.shown == second.shown
    assert len(first.shown) <= 40
    assert {line.loss for line in first.highest_loss} == {96.0}
    assert [line.number for line in first.highest_loss][:2] == [96, 193]

"""Recall of nearest neighbours: by hand, against all pairs, and its chance level against draws."""

from __future__ import annotations

import random

import numpy as np
import pytest
from facts import facts

from llmkit.errors import DataError, UsageError
from llmkit.evaluation.metrics import neighbour_recall, score_names_of, score_texts
from llmkit.evaluation.metrics.neighbours import nearest_others


def test_by_hand() -> None:
    angles = np.deg2rad([0, 1, 3, 90, 92, 200])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [5], [2], [1], [0.1], [3]]
    scores = neighbour_recall(vectors, ["a", "a", "b", "b", "b", "a"])
    # Nearest: 0-1, 1-0, 2-1, 3-4, 4-3, 5-4.
    assert scores.details["nearest_labels"] == ["a", "a", "a", "b", "b", "b"]
    assert scores.values["neighbour_recall_1"] == pytest.approx(4 / 6)
    assert scores.values["neighbour_recall_10"] == 1  # five others at most, and each label stands three times
    assert scores.values["neighbour_chance_1"] == pytest.approx(2 / 5)
    assert scores.values["neighbour_chance_10"] == 1


def test_a_label_of_a_single_row_never_counts_as_found() -> None:
    scores = neighbour_recall(np.eye(3), ["a", "b", "c"])
    assert set(scores.values.values()) == {0.0}


def test_a_row_is_not_its_own_neighbour_and_of_equals_the_first_count() -> None:
    vectors = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1], [0, 0]])
    assert nearest_others(vectors, count=2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]


def test_blocks_of_rows_give_what_all_pairs_give(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(1).normal(size=(57, 5))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -2)
    monkeypatch.setattr("llmkit.evaluation.metrics.neighbours._BLOCK_ELEMENTS", 57 * 4)
    assert nearest_others(vectors, count=10).tolist() == np.argsort(-cosines, axis=1)[:, :10].tolist()


def test_the_chance_level_is_what_random_neighbours_reach() -> None:
    labels = ["a"] * 3 + ["b"] * 9 + ["c"] * 28
    scores = neighbour_recall(np.random.default_rng(0).normal(size=(40, 2)), labels).values
    rng = random.Random(3)
    hits = {1: 0, 10: 0}
    draws = 500
    for row, label in enumerate(labels):
        others = labels[:row] + labels[row + 1 :]
        for _ in range(draws):
            drawn = rng.sample(others, 10)
            hits[1] += drawn[0] == label
            hits[10] += label in drawn
    for size, count in hits.items():
        assert scores[f"neighbour_chance_{size}"] == pytest.approx(count / draws / 40, abs=0.01)


def test_one_row_has_no_neighbour() -> None:
    with pytest.raises(DataError, match=facts("rows", 1)):
        neighbour_recall(np.ones((1, 2)), ["a"])


def test_predictions_of_a_task_are_no_vectors() -> None:
    for ask in (
        lambda: score_texts(["neighbour_recall"], ["a"], ["a"]),
        lambda: score_names_of(["f1", "neighbour_recall"]),
    ):
        with pytest.raises(UsageError, match=facts("neighbour_recall", "vectors")):
            ask()

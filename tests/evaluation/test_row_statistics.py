"""The statistics of rows: the scores of any resample of the rows without the metric itself."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import DataError
from llmkit.evaluation.metrics import (
    METRICS,
    language_model_scores,
    loss_statistics,
    neighbour_recall,
    row_statistics,
    score_texts,
)
from llmkit.evaluation.uncertainty.bootstrap import intervals
from llmkit.tasks.predicted_label import PredictedLabel

SHARES = [{"a": 0.9, "b": 0.2}, {"a": 0.4, "b": 0.4}, {"a": 0.4, "b": 0.8}, {"a": 0.1, "b": 0.4}, {"a": 0.9, "b": 0.9}]
SETS = [["a"], [], ["a", "b"], ["b"], ["b"]]
TEXTS = [
    "the cat sat on the mat today",
    "a dog",
    "",
    "the small birds sing in the old tree behind a house",
    "nothing is the same",
]
REFERENCES: list[Any] = [
    "the cat sat on a mat today",
    "the dogs",
    "an empty answer",
    ["small birds sing in an old tree", "the small birds sing in the old tree"],
    "something else",
]
TAGS = [["B-PER", "I-PER", "O"], ["O", "I-LOC"], ["B-LOC"], ["O", "O"], ["B-PER", "B-PER", "I-LOC"]]
TRUE_TAGS = [["B-PER", "I-PER", "O"], ["O", "B-LOC"], ["B-PER"], ["O", "O"], ["B-PER", "B-LOC", "I-LOC"]]


class Case(NamedTuple):
    metric: str
    predictions: list[Any]
    references: list[Any]

    def rows(self, counts: list[int]) -> tuple[list[Any], list[Any]]:
        """The predictions and references, each as often as its count says."""
        repeated = [index for index, count in enumerate(counts) for _ in range(count)]
        return [self.predictions[index] for index in repeated], [self.references[index] for index in repeated]


ONE_LABEL = (["a", "b", "a", "c", "b"], ["a", "a", "b", "c", "b"])
MANY_LABELS = ([{"labels": row, "probabilities": share} for row, share in zip(SETS, SHARES, strict=True)], SETS[::-1])
NAMES = ("a", "b", "c")
PREDICTED = [
    PredictedLabel(NAMES[int(np.argmax(row))], NAMES, np.array(row), abstained=row[0] == 0.4)
    for row in ([0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.4, 0.3, 0.3], [0.1, 0.3, 0.6], [0.2, 0.6, 0.2])
]
NUMBERS = ([1.0, 2.5, 2.5, -3.0, 1e3], [2.0, 2.0, 4.5, 0.0, 7.0])
CASES = {
    **{name: Case(name, *ONE_LABEL) for name in ("accuracy", "precision", "recall", "f1", "mcc")},
    **{f"{name} of sets": Case(name, *MANY_LABELS) for name in ("accuracy", "precision", "recall", "f1", "map")},
    **{name: Case(name, *NUMBERS) for name in ("mse", "pearson", "spearman")},
    **{
        name: Case(name, TEXTS, REFERENCES)
        for name in ("rouge", "bleu", "chrf", "chrf++", "ter", "exact_text", "squad")
    },
    "bleu without pairs": Case("bleu", ["the", "cat sat", "dog", "a", "mat"], ["the", "cat sat", "cat", "a mat", "b"]),
    "entities": Case("entities", TAGS, TRUE_TAGS),
    "tag_accuracy": Case("tag_accuracy", TAGS, TRUE_TAGS),
    **{name: Case(name, PREDICTED, ONE_LABEL[1]) for name in ("ece", "brier", "nll", "selective")},
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def _values(case: Case, weights: np.ndarray) -> dict[str, float]:
    statistics = row_statistics([case.metric], case.predictions, case.references)
    return {name: float(values[0]) for name, values in statistics.resampled(weights[None]).items()}


def test_every_metric_with_scores_has_a_case() -> None:
    measured = {case.metric for case in CASES.values()} | {"neighbour_recall"}
    assert measured == {name for name, metric in METRICS.items() if metric.scores}


@every_case
def test_all_ones_give_the_metrics_own_values(case: Case) -> None:
    scores = score_texts([case.metric], case.predictions, case.references)
    assert _values(case, np.ones(5)) == pytest.approx(scores.values, rel=1e-9, abs=1e-9)


@every_case
@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(0, 3), min_size=5, max_size=5).filter(any))
def test_whole_weights_give_the_metric_of_the_repeated_rows(case: Case, counts: list[int]) -> None:
    if case.metric == "ece":
        counts = [2] * 5  # its bins are those of all rows
    values = _values(case, np.array(counts, dtype=np.float64))
    try:
        scores = score_texts([case.metric], *case.rows(counts))
    except DataError:  # without words or labels there is no score
        assert all(map(np.isnan, values.values()))
        return
    undefined = scores.details.get("undefined", {})
    for name, value in values.items():
        if np.isnan(value):
            assert scores.values[name] == 0.0
            assert undefined.keys() & {name, case.metric}
        else:
            assert value == pytest.approx(scores.values[name], rel=1e-9, abs=1e-9)


@every_case
def test_the_order_of_the_rows_does_not_matter(case: Case) -> None:
    order, weights = [3, 0, 4, 1, 2], np.array([1.0, 0.0, 2.0, 1.0, 3.0])
    other = Case(case.metric, [case.predictions[row] for row in order], [case.references[row] for row in order])
    assert _values(other, weights[order]) == pytest.approx(_values(case, weights), rel=1e-9, nan_ok=True)


@every_case
def test_every_score_has_an_interval_around_it(case: Case) -> None:
    predictions, references = case.rows([12, 9, 11, 10, 8])
    scores = score_texts([case.metric], predictions, references)
    assert scores.statistics is not None
    found = intervals(scores.statistics)
    assert found.keys() == scores.values.keys()
    for name, interval in found.items():
        assert interval.low <= scores.values[name] <= interval.high, name


@every_case
def test_influences_are_the_derivatives_by_the_weights_of_rows(case: Case) -> None:
    statistics = row_statistics([case.metric], case.predictions, case.references)
    weights = np.array([3.0, 2.0, 4.0, 3.0, 2.0])
    assert statistics.influences is not None
    found = statistics.influences(weights[None])
    more = statistics.resampled(weights + 1e-4 * np.eye(5))
    less = statistics.resampled(weights - 1e-4 * np.eye(5))
    if case.metric in ("map", "spearman"):
        assert not found, "ranks have none"
        return
    assert found.keys() == more.keys()
    for name, values in found.items():
        if name not in ("majority_share", "majority_tag_share"):  # the most frequent label may change
            assert values[0] == pytest.approx((more[name] - less[name]) / 2e-4, rel=1e-3, abs=1e-4), name


def test_a_resample_of_equal_numbers_has_no_correlation() -> None:
    statistics = row_statistics(["pearson", "spearman"], [1.1, 1.1, 2.0], [3.0, 4.0, 5.0])
    values = statistics.resampled(np.array([[4.0, 7.0, 0.0], [1.0, 1.0, 1.0]]))
    assert np.isnan(values["pearson"]).tolist() == np.isnan(values["spearman"]).tolist() == [True, False]


def test_neighbours_are_those_of_the_rows_and_not_the_copies_of_a_resample() -> None:
    vectors = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [-1.0, 0.0]])
    scores = neighbour_recall(vectors, ["a", "a", "b", "a", "b"])
    assert scores.statistics is not None
    values = scores.statistics.resampled(np.array([[1.0] * 5, [2.0, 2.0, 0.0, 0.0, 0.0]]))
    assert values["neighbour_recall_1"].tolist() == pytest.approx([scores.values["neighbour_recall_1"], 1.0])


def test_losses_are_quotients_of_sums_over_the_rows() -> None:
    nats, targets, sizes = [3.0, 0.0, 8.0], [2, 0, 5], [10.0, 0.0, 31.0]
    names = ("loss", "perplexity", "bits_per_byte")
    values = loss_statistics(names, nats, targets, sizes).resampled(np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]))
    for index, expected in enumerate([language_model_scores(11.0, 7, 41), language_model_scores(14.0, 9, 51)]):
        assert {name: value[index] for name, value in values.items()} == pytest.approx(expected)
    assert loss_statistics(("loss",), nats, targets).resampled(np.ones((1, 3))) == {"loss": pytest.approx([11 / 7])}


def test_a_resample_without_targets_has_no_loss_and_a_perplexity_beyond_a_float_is_infinite() -> None:
    statistics = loss_statistics(("loss", "perplexity"), [1e4, 0.0], [1, 0])
    values = statistics.resampled(np.array([[0.0, 2.0], [1.0, 1.0]]))
    assert np.isnan(values["loss"]).tolist() == [True, False]
    assert values["perplexity"][1] == math.inf
    assert all(map(math.isnan, intervals(statistics)["perplexity"]))

"""Intervals by the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llmkit.evaluation.uncertainty.bootstrap import Interval, count_clusters, intervals, resampled_scores
from llmkit.evaluation.uncertainty.statistics import RowStatistics, difference, of_means

ROWS = np.random.Generator(np.random.PCG64(7)).normal(5, 2, size=300)


def test_the_interval_of_a_mean_is_that_of_students_t_to_a_tenth_of_its_width() -> None:
    interval = intervals(of_means({"mean": ROWS}), resamples=4000)["mean"]
    half = 1.968 * ROWS.std(ddof=1) / math.sqrt(300)  # t with 299 degrees of freedom
    assert interval == pytest.approx((ROWS.mean() - half, ROWS.mean() + half), abs=0.2 * half)


def test_the_same_seed_gives_the_same_digits_and_another_seed_others() -> None:
    statistics = of_means({"mean": ROWS})
    assert intervals(statistics, seed=3) == intervals(statistics, seed=3) != intervals(statistics, seed=4)


def test_clusters_of_one_row_are_no_clusters() -> None:
    statistics = of_means({"mean": ROWS})
    assert intervals(statistics, clusters=range(1000, 1300)) == intervals(statistics)


def test_rows_without_a_cluster_are_clusters_of_one_row() -> None:
    statistics = of_means({"mean": ROWS})
    some = ["a", "a", *[None] * 298]
    numbered = [0, 0, *range(1, 299)]
    assert intervals(statistics, clusters=some) == intervals(statistics, clusters=numbered) != intervals(statistics)
    assert count_clusters(some) == count_clusters(numbered) == 299


def test_clusters_of_equal_rows_are_as_wide_as_one_row_of_each() -> None:
    repeated = of_means({"mean": np.repeat(ROWS, 5)})
    clusters = np.repeat(np.arange(300), 5).tolist()
    assert intervals(repeated, clusters=clusters)["mean"] == pytest.approx(intervals(of_means({"mean": ROWS}))["mean"])
    assert np.ptp(intervals(repeated)["mean"]) < 0.6 * np.ptp(intervals(of_means({"mean": ROWS}))["mean"])


def test_more_resamples_begin_with_the_same_ones() -> None:
    statistics = of_means({"mean": ROWS})
    many = resampled_scores(statistics, resamples=4000)["mean"]  # more than are in memory at once
    assert len(many) == 4000
    assert many[:50].tolist() == pytest.approx(resampled_scores(statistics, resamples=50)["mean"].tolist(), rel=1e-12)


def test_few_clusters_give_a_wider_interval_than_the_percentiles() -> None:
    rows = ROWS[:8]
    resamples = np.random.Generator(np.random.PCG64(0)).choice(rows, size=(4000, 8)).mean(axis=1)
    low, high = np.quantile(resamples, [0.025, 0.975])
    interval = intervals(of_means({"mean": rows}), resamples=4000)["mean"]
    assert interval.low < low
    assert interval.high > high


def test_a_paired_difference_of_equal_rows_is_zero_and_of_others_is_narrower_than_an_unpaired_one() -> None:
    first, second = of_means({"mean": ROWS}), of_means({"mean": ROWS + 0.1 * np.sin(np.arange(300))})
    assert intervals(difference(first, first))["mean"] == (0, 0)
    assert np.ptp(intervals(difference(first, second))["mean"]) < 0.1 * np.ptp(intervals(first)["mean"])


def test_one_row_has_no_interval() -> None:
    assert all(map(math.isnan, intervals(of_means({"mean": [3.0]}))["mean"]))


@pytest.mark.parametrize(("right", "expected"), [(50, (0.929, 1.0)), (0, (0.0, 0.071))])
def test_rows_that_are_all_right_or_all_wrong_have_the_interval_of_clopper_and_pearson(
    right: int, expected: tuple[float, float]
) -> None:
    rows = of_means({"share": [1.0] * right + [0.0] * (50 - right)})
    bounded = RowStatistics(rows.rows, rows.resampled, {"share": (0.0, 1.0)})
    assert intervals(bounded)["share"] == pytest.approx(expected, abs=0.001)


def _undefined_without(row: int) -> RowStatistics:
    def resampled(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": np.where(weights[:, row] > 0, weights @ ROWS / weights.sum(axis=1), np.nan)}

    return RowStatistics(300, resampled)


def test_a_score_that_many_resamples_leave_undefined_has_no_interval_and_a_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    interval = intervals(_undefined_without(5))["mean"]  # in 37 % of them
    assert all(map(math.isnan, interval))
    assert "mean" in caplog.text
    assert isinstance(interval, Interval)

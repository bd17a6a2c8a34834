"""Intervals by the bootstrap."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from llmkit.evaluation.uncertainty.bootstrap import (
    Interval,
    count_clusters,
    difference_intervals,
    intervals,
    resampled_scores,
)
from llmkit.evaluation.uncertainty.methods import effective_units, freedom_of
from llmkit.evaluation.uncertainty.statistics import RowStatistics, difference, of_means, of_sums

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
    assert difference_intervals(difference(first, first))["mean"] == ((0, 0), 0)
    assert np.ptp(difference_intervals(difference(first, second))["mean"][0]) < 0.1 * np.ptp(intervals(first)["mean"])


def test_one_row_has_no_interval() -> None:
    assert all(map(math.isnan, intervals(of_means({"mean": [3.0]}))["mean"]))


@pytest.mark.parametrize(("right", "expected"), [(50, (0.929, 1.0)), (0, (0.0, 0.071))])
def test_rows_that_are_all_right_or_all_wrong_have_the_interval_of_clopper_and_pearson(
    right: int, expected: tuple[float, float]
) -> None:
    assert intervals(_bounded([1.0] * right + [0.0] * (50 - right)))["share"] == pytest.approx(expected, abs=0.001)


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


def test_a_skewed_mean_is_in_its_interval_in_about_95_percent_of_samples() -> None:
    contained = 0
    for seed in range(300):
        values = np.random.Generator(np.random.PCG64(seed)).lognormal(size=40)
        interval = intervals(of_means({"mean": values}), resamples=500, seed=seed)["mean"]
        contained += interval.low <= math.exp(0.5) <= interval.high
    assert 280 <= contained <= 292


def test_a_share_with_few_errors_is_not_studentized() -> None:
    """In 2 % of the resamples there is no error, and so no standard error; the studentized interval would begin at 0."""
    interval = intervals(_bounded([1.0] * 196 + [0.0] * 4))["share"]
    assert 0.93 < interval.low < 0.97
    assert 0.98 < interval.high <= 1


def test_an_interval_ends_where_the_scale_does() -> None:
    statistics = of_sums(np.array([[30.0, 30], [1, 1], [1, 2], [0, 2], [2, 2], [1, 2], [1, 1], [1, 3]]), _share_of_sums)
    unbounded = intervals(statistics)["share"]
    bounded = intervals(replace(statistics, bounds={"share": (0.0, 1.0)}))["share"]
    assert unbounded.low == bounded.low
    assert unbounded.high > bounded.high == 1


def test_the_fewer_rows_decide_the_fewer_are_the_degrees_of_freedom() -> None:
    even, one = np.tile([1.0, -1.0], 50), np.array([99.0, *[-1.0] * 99])
    assert (effective_units(even), freedom_of(even)) == (100, 99)
    assert effective_units(one) == pytest.approx(1.02, abs=0.02)
    assert freedom_of(one) == pytest.approx(2, abs=0.1)


def test_a_difference_of_all_rows_is_not_certain() -> None:
    right, wrong = _bounded([1.0] * 50), _bounded([0.0] * 50)
    interval, error = difference_intervals(difference(right, wrong))["share"]
    assert interval == pytest.approx((0.858, 1.0), abs=0.001)
    assert error == 0


def _bounded(values: list[float]) -> RowStatistics:
    return replace(of_means({"share": values}), bounds={"share": (0.0, 1.0)})


def _share_of_sums(sums: np.ndarray) -> dict[str, np.ndarray]:
    return {"share": sums[:, 0] / sums[:, 1]}

"""Paired tests against scipy's and sacrebleu's, and what they promise."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, binomtest, permutation_test

from llmkit.evaluation.metrics import row_statistics, score_texts
from llmkit.evaluation.uncertainty.comparing import Difference, Sampling, System, compare_systems
from llmkit.evaluation.uncertainty.paired import holm, mcnemar, randomisation, right_rows, smallest_difference
from llmkit.evaluation.uncertainty.statistics import RowStatistics, of_means
from llmkit.evaluation.uncertainty.wording import verdict

RNG = np.random.default_rng(0)


def pair_of_means(first: np.ndarray, second: np.ndarray) -> RowStatistics:
    return of_means({"score": np.concatenate([first, second])})


def mid_p(differences: np.ndarray, observed: float) -> float:
    """The share of larger differences, and half of those as large."""
    larger, smaller = abs(differences) > abs(observed) + 1e-12, abs(differences) < abs(observed) - 1e-12
    return float((np.mean(larger) + 1 - np.mean(smaller)) / 2)


def compared(*members: list[np.ndarray], clusters: list[int] | None = None) -> list[Difference]:
    """Systems of rows, one for each list of seeds."""
    systems = [
        System(chr(65 + place), tuple(of_means({"rougeL": row}) for row in rows)) for place, rows in enumerate(members)
    ]

    def both(first: int, second: int) -> RowStatistics:
        return of_means({"rougeL": np.concatenate([members[first][0], members[second][0]])})

    return compare_systems(systems, sampling=Sampling(clusters), zero_or_one=frozenset(), both=both)


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 1), (3, 9), (9, 3), (0, 6), (40, 61)])
def test_mcnemar_is_the_binomial_test_without_half_of_the_observed_probability(
    only_first: int, only_second: int
) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True, False] * 5)
    second = np.array([False] * only_first + [True] * only_second + [True, False] * 5)
    rows = only_first + only_second
    exact = binomtest(only_first, rows).pvalue
    assert mcnemar(first, second) == pytest.approx(exact - binom.pmf(only_first, rows, 0.5), abs=1e-12)


def test_mcnemar_without_a_row_that_tells_them_apart_is_one() -> None:
    assert mcnemar(np.array([True, False]), np.array([True, False])) == 1.0
    assert mcnemar(np.array([True, False]), np.array([False, True])) == 1.0


@pytest.mark.parametrize("rows", [1, 30, 31, 95])
def test_the_rows_of_an_accuracy_are_those_that_are_right(rows: int) -> None:
    predictions = RNG.choice(["a", "b", "c"], size=rows).tolist()
    references = RNG.choice(["a", "b", "c"], size=rows).tolist()
    found = right_rows(row_statistics(["accuracy"], predictions, references), "accuracy")
    assert found.tolist() == [one == other for one, other in zip(predictions, references, strict=True)]


def test_all_exchanges_of_few_rows_give_the_p_value_of_scipys_permutation_test() -> None:
    first, second = RNG.normal(size=10), RNG.normal(0.7, size=10)
    expected = permutation_test(
        (second, first), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples", n_resamples=np.inf
    ).null_distribution
    found = randomisation(pair_of_means(first, second), clusters=None)["score"]
    assert found == pytest.approx(mid_p(expected, np.mean(second) - np.mean(first)))


def test_random_exchanges_of_many_rows_give_nearly_the_p_value_of_scipy() -> None:
    first = RNG.normal(size=300)
    second = first + RNG.normal(0.08, size=300)
    expected = permutation_test(
        (second, first), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", n_resamples=9999,
        vectorized=True, rng=np.random.default_rng(1),
    ).pvalue  # fmt: skip
    found = randomisation(pair_of_means(first, second), clusters=None)["score"]
    assert found == pytest.approx(expected, abs=0.015)
    assert found == randomisation(pair_of_means(first, second), clusters=None)["score"]


def test_clusters_are_exchanged_whole() -> None:
    first, second = RNG.normal(size=12), RNG.normal(1, size=12)
    clusters = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    sums = (second - first).reshape(4, 3).sum(axis=1)
    every = [
        abs(sum(sign * value for sign, value in zip(signs, sums, strict=True))) for signs in product([1, -1], repeat=4)
    ]
    expected = mid_p(np.array(every), sums.sum())
    assert randomisation(pair_of_means(first, second), clusters=clusters)["score"] == pytest.approx(expected)


def test_bleu_has_about_the_p_values_of_sacrebleus_paired_tests() -> None:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.significance import PairedTest

    words = [
        "the",
        "a",
        "small",
        "old",
        "cat",
        "dog",
        "bird",
        "house",
        "tree",
        "sat",
        "slept",
        "sang",
        "on",
        "in",
        "under",
    ]
    references = [" ".join(RNG.choice(words, size=12)) for _ in range(60)]

    def damaged(share: float) -> list[str]:
        return [
            " ".join(w if RNG.random() > share else str(RNG.choice(words)) for w in text.split()) for text in references
        ]

    first, second = damaged(0.3), damaged(0.34)
    systems = [("A", first), ("B", second)]
    _, result = PairedTest(
        systems, {"BLEU": BLEU(references=[references])}, references=None, test_type="ar", n_samples=2000
    )()
    both = row_statistics(["bleu"], first + second, references + references)
    found = randomisation(both, clusters=None, permutations=2000)["bleu"]
    assert found == pytest.approx(result["BLEU"][1].p_value, abs=0.05)


def test_holm_corrects_step_by_step_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    corrected = holm([0.02, math.nan])
    assert corrected[0] == 0.02
    assert math.isnan(corrected[1])


def test_the_smallest_difference_is_2_8_standard_errors_with_many_rows() -> None:
    assert smallest_difference(1.0, freedom=100_000) == pytest.approx(2.8, abs=0.01)
    assert smallest_difference(1.0, freedom=4) > 3.5


def test_a_difference_has_the_interval_of_a_paired_t_test_about() -> None:
    first = RNG.normal(0.5, 0.2, size=400)
    second = first + RNG.normal(0.03, 0.1, size=400)
    [found] = compared([first], [second])
    error = np.std(second - first, ddof=1) / 20
    assert found.difference == pytest.approx(np.mean(second - first))
    assert found.standard_error == pytest.approx(error, rel=0.1)
    assert found.interval.low == pytest.approx(found.difference - 1.96 * error, abs=0.3 * error)
    assert found.is_significant
    assert "B is better than A" in verdict(found)


def test_equal_systems_show_no_evidence_of_a_difference() -> None:
    rows = RNG.random(50)
    [found] = compared([rows], [rows])
    assert (found.p_value, found.difference) == (1.0, 0.0)
    assert "no evidence of a difference" in verdict(found)


def test_three_systems_are_corrected_for_three_pairs() -> None:
    rows = RNG.random(60)
    found = compared([rows], [rows + RNG.normal(0.05, 0.1, size=60)], [rows + RNG.normal(0.02, 0.1, size=60)])
    assert [(item.first, item.second) for item in found] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert [item.p_corrected for item in found] == holm([item.p_value for item in found])


def test_the_spread_between_seeds_widens_the_interval_of_their_mean() -> None:
    rows = RNG.random(500)
    alike = [rows + shift for shift in (0.001, 0.0, -0.001)]
    apart = [rows + shift for shift in (0.05, 0.0, -0.05)]
    other = [row + 0.01 for row in alike]
    [of_alike], [of_apart] = compared(alike, other), compared(apart, other)
    assert of_alike.is_significant
    assert not of_apart.is_significant
    assert of_apart.seed_error == pytest.approx(np.sqrt((0.05**2 + 0.001**2) / 2 * 2 / 3))
    assert of_apart.standard_error == pytest.approx(of_alike.standard_error, abs=1e-9)


def test_a_lower_loss_is_better() -> None:
    rows = RNG.random(200)
    systems = [System(name, (of_means({"mse": values}),)) for name, values in (("A", rows), ("B", rows - 0.1))]
    both = of_means({"mse": np.concatenate([rows, rows - 0.1])})
    [found] = compare_systems(systems, sampling=Sampling(None), zero_or_one=frozenset(), both=lambda *_: both)
    assert "B is better than A" in verdict(found)


def test_micro_f1_of_one_label_has_the_rows_of_the_accuracy() -> None:
    predictions, references = ["a", "b", "a", "c"], ["a", "a", "a", "c"]
    statistics = row_statistics(["f1"], predictions, references)
    assert right_rows(statistics, "f1_micro").tolist() == [True, False, True, True]
    assert score_texts(["f1"], predictions, references).values["f1_micro"] == 0.75

"""The differences between systems on the same rows: intervals, tests, and what to say about them.

A system is a model, or several that differ only in their seed. Knows neither metrics nor files.

Legend: N rows, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np

from llmkit.evaluation.uncertainty.bootstrap import LEVEL, RESAMPLES, Interval, difference_intervals
from llmkit.evaluation.uncertainty.methods import t_interval
from llmkit.evaluation.uncertainty.paired import holm, mcnemar, randomisation, right_rows, smallest_difference
from llmkit.evaluation.uncertainty.statistics import FloatArray, RowStatistics, difference

SIGNIFICANCE = 1 - LEVEL


@dataclass(frozen=True)
class System:
    """A model, or several that differ only in their seed."""

    name: str
    members: tuple[RowStatistics, ...]
    """Of each seed, on the same rows."""

    @property
    def statistics(self) -> RowStatistics:
        """Of the mean score over seeds."""
        return _mean(self.members)

    def value(self, score: str) -> float:
        return _value(self.statistics, score)

    def spread(self, score: str) -> float:
        """The standard deviation of a score between seeds; NaN with a single seed."""
        values = [_value(member, score) for member in self.members]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class Difference:
    """The second system's score minus the first one's, on the same rows."""

    score: str
    first: str
    second: str
    values: tuple[float, float]
    difference: float
    interval: Interval
    p_value: float
    test: str
    """The name of the test."""
    p_corrected: float
    """Holm's correction for the number of pairs of systems; the p-value if there is one pair."""
    standard_error: float
    """Of the rows alone."""
    seed_error: float
    """The standard error that the spread between seeds adds; NaN if no system has several."""
    smallest: float
    """The smallest true difference that would be found in 80 % of such comparisons."""

    @property
    def is_significant(self) -> bool:
        return self.p_corrected < SIGNIFICANCE


class Sampling(NamedTuple):
    """How intervals and tests draw."""

    clusters: Sequence[int] | None
    """(N,) the cluster of each row; None if the rows are independent."""
    resamples: int = RESAMPLES
    seed: int = 0

    def freedom(self, rows: int) -> int:
        """Degrees of freedom of a standard error over rows or clusters."""
        return (rows if self.clusters is None else len(set(self.clusters))) - 1


def compare_systems(
    systems: Sequence[System],
    *,
    sampling: Sampling,
    zero_or_one: frozenset[str],
    both: Callable[[int, int], RowStatistics],
) -> list[Difference]:
    """All pairs of systems in each score that both have. There must be at least two rows or clusters.

    Args:
        zero_or_one: scores that are means of 0s and 1s over rows.
        both: statistics of the rows of two systems in one table, as `randomisation` takes them, by their places.
    """
    pairs = [
        _compare_pair(
            systems[first],
            systems[second],
            sampling=sampling,
            zero_or_one=zero_or_one,
            both=partial(both, first, second),
        )
        for first, second in combinations(range(len(systems)), 2)
    ]
    corrected = {
        score: holm([pair[score].p_value if score in pair else math.nan for pair in pairs])
        for score in dict.fromkeys(score for pair in pairs for score in pair)
    }
    return [
        replace(found, p_corrected=corrected[score][place])
        for place, pair in enumerate(pairs)
        for score, found in pair.items()
    ]


def _compare_pair(
    first: System,
    second: System,
    *,
    sampling: Sampling,
    zero_or_one: frozenset[str],
    both: Callable[[], RowStatistics],
) -> dict[str, Difference]:
    statistics = difference(second.statistics, first.statistics)
    clusters, resamples, seed = sampling
    found = difference_intervals(statistics, clusters=clusters, resamples=resamples, seed=seed)
    ends = {name: interval for name, (interval, _) in found.items()}
    errors = {name: error for name, (_, error) in found.items()}
    freedom = sampling.freedom(statistics.rows)
    values = {name: (first.value(name), second.value(name)) for name in ends}
    if max(len(first.members), len(second.members)) > 1:
        return {name: _of_seeds(first, second, name, values[name], errors[name], freedom) for name in ends}
    p_values = _p_values(first, second, names=list(ends), sampling=sampling, zero_or_one=zero_or_one, both=both)
    return {
        name: Difference(
            score=name,
            first=first.name,
            second=second.name,
            values=values[name],
            difference=values[name][1] - values[name][0],
            interval=ends[name],
            p_value=p_value,
            test=test,
            p_corrected=p_value,
            standard_error=errors[name],
            seed_error=math.nan,
            smallest=smallest_difference(errors[name], freedom=freedom),
        )
        for name, (p_value, test) in p_values.items()
    }


def _p_values(
    first: System,
    second: System,
    *,
    names: Sequence[str],
    sampling: Sampling,
    zero_or_one: frozenset[str],
    both: Callable[[], RowStatistics],
) -> dict[str, tuple[float, str]]:
    """The p-value of each score, and the name of its test."""
    exact = [name for name in names if name in zero_or_one and sampling.clusters is None]
    found = {}
    for name in exact:
        sides = [right_rows(system.members[0], name) for system in (first, second)]
        found[name] = (mcnemar(*sides), "McNemar")
    if len(exact) == len(names):
        return found
    test = f"randomisation of {'rows' if sampling.clusters is None else 'clusters'}"
    randomised = randomisation(both(), clusters=sampling.clusters, seed=sampling.seed)
    return {name: found.get(name) or (randomised.get(name, math.nan), test) for name in names}


def _of_seeds(
    first: System, second: System, name: str, values: tuple[float, float], row_error: float, freedom: int
) -> Difference:
    """A difference of means over seeds, as sure as both the rows and the seeds let it be.

    The variance between seeds is pooled over both systems, as in Student's test; degrees of freedom by Satterthwaite.
    """
    from scipy.special import stdtr

    spreads = [(len(system.members) - 1, system.spread(name)) for system in (first, second) if len(system.members) > 1]
    seed_freedom = sum(count for count, _ in spreads)
    pooled = sum(count * spread**2 for count, spread in spreads) / seed_freedom
    seed_variance = pooled * sum(1 / len(system.members) for system in (first, second))
    variance = row_error**2 + seed_variance
    error = math.sqrt(variance)
    total_freedom = variance**2 / (row_error**4 / freedom + seed_variance**2 / seed_freedom) if variance else freedom
    change = values[1] - values[0]
    p_value = 2 * float(stdtr(total_freedom, -abs(change) / error)) if error else float(change == 0)
    return Difference(
        score=name,
        first=first.name,
        second=second.name,
        values=values,
        difference=change,
        interval=t_interval(change, error, freedom=total_freedom, level=LEVEL),
        p_value=p_value,
        test="t of rows and seeds",
        p_corrected=p_value,
        standard_error=row_error,
        seed_error=math.sqrt(seed_variance),
        smallest=smallest_difference(error, freedom=total_freedom),
    )


def _mean(members: Sequence[RowStatistics]) -> RowStatistics:
    if len(members) == 1:
        return members[0]

    def resampled(weights: FloatArray) -> Mapping[str, FloatArray]:
        every = [member.resampled(weights) for member in members]
        names = [name for name in every[0] if all(name in scores for scores in every)]
        return {name: np.mean([scores[name] for scores in every], axis=0) for name in names}

    return RowStatistics(members[0].rows, lambda weights: dict(resampled(weights)))


def _value(statistics: RowStatistics, score: str) -> float:
    return float(statistics.resampled(np.ones((1, statistics.rows)))[score][0])

"""Whether two systems differ on the same rows: tests of paired rows or clusters, and what these rows could show.

A test asks how often a difference at least as large would come from two systems that are equally good. Knows neither
metrics nor files.

Legend: N rows, U units (rows or clusters), R permutations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from llmkit.evaluation.uncertainty.statistics import FloatArray, RowStatistics

PERMUTATIONS = 10_000
POWER = 0.8
_ELEMENTS_AT_ONCE = 2**20
_BITS_AT_ONCE = 30
"""Rows whose 0 or 1 a float holds exactly, as the digits of one number."""


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """The p-value of McNemar's test, of which systems are right in each row: the mid-p version.

    Only rows count in which one system is right and the other wrong. If both are equally good, each of these is a toss
    of a coin; the p-value is that of the binomial distribution, with half the probability of the numbers observed. The
    exact test, with all of it, rejects less often than it says (Fagerland, Lydersen and Laake 2013).

    Args:
        first: (N,) whether the first system is right.
    """
    from scipy.stats import binom, binomtest

    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    rows = only_first + only_second
    if not rows:
        return 1.0
    exact = float(binomtest(only_first, rows).pvalue)
    if only_first == only_second:
        return exact
    return exact - float(binom.pmf(only_first, rows, 0.5))


def right_rows(statistics: RowStatistics, name: str) -> NDArray[np.bool_]:
    """(N,) the value of each row of a score that is a mean of 0s and 1s over rows, such as the accuracy."""
    digits = 2.0 ** np.arange(_BITS_AT_ONCE)
    values = []
    for start in range(0, statistics.rows, _BITS_AT_ONCE):
        count = min(_BITS_AT_ONCE, statistics.rows - start)
        weights = np.zeros((1, statistics.rows))
        weights[0, start : start + count] = digits[:count]
        number = round(float(statistics.resampled(weights)[name][0]) * float(digits[:count].sum()))
        values += [number >> digit & 1 for digit in range(count)]
    return np.array(values, dtype=bool)


def randomisation(
    both: RowStatistics, *, clusters: Sequence[int] | None, permutations: int = PERMUTATIONS, seed: int = 0
) -> dict[str, float]:
    """The p-value of each score by approximate randomisation (Noreen 1989): the predictions of both systems are exchanged
    in rows, or in whole clusters, chosen at random, and the differences of such pairs compared with that of the systems.

    With few units all exchanges are tried once. As in `mcnemar`, differences as large as the observed one count half:
    where few rows differ, many exchanges tie, and the test would reject less often than it says.

    Args:
        both: statistics of 2 N rows: the N rows of one system, then those of the other.
        clusters: (N,) the cluster of each row; None if the rows are independent.
    """
    rows = both.rows // 2
    of_row, units = _units(rows, clusters)
    observed = {name: abs(float(values[0])) for name, values in _differences(both, np.zeros((1, rows))).items()}
    larger = dict.fromkeys(observed, 0.0)
    exact = units < 63 and 2**units <= permutations
    count = 2**units if exact else permutations
    for exchanged in _all_exchanges(units, rows) if exact else _random_exchanges(units, rows, count=count, seed=seed):
        for name, values in _differences(both, exchanged[:, of_row]).items():
            size, rounding = observed[name], 1e-12 * max(1.0, observed[name])
            smaller, equal = np.abs(values) < size - rounding, np.abs(np.abs(values) - size) <= rounding
            larger[name] += len(values) - np.sum(smaller) - 0.5 * np.sum(equal)
    offset = 0 if exact else 1  # the observed difference is one of all exchanges
    p_values = {name: float(number + 0.5 * offset) / (count + offset) for name, number in larger.items()}
    return {
        name: math.nan if not math.isfinite(size) else p_values[name] if size > 1e-12 else 1.0
        for name, size in observed.items()
    }


def _differences(both: RowStatistics, exchanged: FloatArray) -> dict[str, FloatArray]:
    """(R,) second minus first, where the rows with a 1 in `exchanged` (R, N) have changed sides."""
    kept = 1 - exchanged
    first = both.resampled(np.concatenate([kept, exchanged], axis=1))
    second = both.resampled(np.concatenate([exchanged, kept], axis=1))
    return {name: second[name] - values for name, values in first.items()}


def _units(rows: int, clusters: Sequence[int] | None) -> tuple[NDArray[np.int64], int]:
    """(N,) the number of each row's unit, and how many there are."""
    if clusters is None:
        return np.arange(rows), rows
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[cluster] for cluster in clusters]), len(numbers)


def _all_exchanges(units: int, rows: int) -> Iterator[FloatArray]:
    size = max(1, _ELEMENTS_AT_ONCE // rows)
    for start in range(0, 2**units, size):
        codes = np.arange(start, min(start + size, 2**units))
        yield (codes[:, None] >> np.arange(units) & 1).astype(np.float64)


def _random_exchanges(units: int, rows: int, *, count: int, seed: int) -> Iterator[FloatArray]:
    rng = np.random.Generator(np.random.PCG64(seed))
    size = max(1, _ELEMENTS_AT_ONCE // rows)
    for start in range(0, count, size):
        yield rng.integers(0, 2, size=(min(size, count - start), units)).astype(np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number (Holm 1979): below 0.05 in at most 5 % of families without a difference.

    NaN stays, and does not count.
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    corrected, largest = list(p_values), 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[place] = largest
    return corrected


def smallest_difference(standard_error: float, *, freedom: float, level: float = 0.95, power: float = POWER) -> float:
    """The true difference that a test at this level finds with this probability: 2.8 standard errors with many units
    (Miller 2024, "Adding Error Bars to Evals").

    Args:
        freedom: degrees of freedom of the standard error, such as the number of units less 1.
    """
    from scipy.special import stdtrit

    return standard_error * float(stdtrit(freedom, (1 + level) / 2) + stdtrit(freedom, power))

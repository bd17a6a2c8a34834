"""How often 95 % intervals contain the true score, and how often paired tests find a difference that is not there.

    python benchmarks/coverage.py FOLDER [--runs 2000] [--start 0] [--only NAME] [FIRST.jsonl[+SECOND.jsonl]:METRIC,METRIC ...]

FOLDER has texts with sections, summaries and translations (debian-*.jsonl and .csv). Small models of two kinds predict
their test rows; files of predictions, or of losses, that `llmkit evaluate` wrote for two runs can be added. The rows with
both predictions are a population, from which samples of 200 rows, or of 40 clusters of 10 alike rows, are drawn with
replacement. Its own score is the true one. For the tests, and the intervals of differences, both systems change their
predictions in rows (or clusters) by the toss of a coin, so that they are equally good.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from coverage_populations import Population, populations
from numpy.typing import NDArray

from llmkit.evaluation.uncertainty.bootstrap import difference_intervals, intervals
from llmkit.evaluation.uncertainty.paired import mcnemar, randomisation, right_rows
from llmkit.evaluation.uncertainty.statistics import FloatArray, RowStatistics, difference

ROWS, CLUSTERS, CLUSTER_ROWS = 200, 40, 10
PERMUTATIONS = 399
ZERO_OR_ONE = {"accuracy", "f1_micro", "exact_match", "exact_text"}
CONSTANT = {"majority_share", "majority_tag_share"}
IntArray = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("predictions", nargs="*")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument(
        "--start", type=int, default=0, help="number of the first run, so that processes can share them"
    )
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args()
    print(
        "| score | population | units | interval contains the score | score above it | below it "
        "| interval of the difference contains 0 | test rejects |\n|---|---|---|---|---|---|---|---|"
    )
    for population in populations(options.folder, options.predictions):
        if options.only and population.name not in options.only:
            continue
        for clustered in (False, True):
            for line in simulated(
                population, clustered=clustered, runs=range(options.start, options.start + options.runs)
            ):
                print(line, flush=True)


def simulated(population: Population, *, clustered: bool, runs: range) -> Iterator[str]:
    """A line of the table for each score."""
    one, both = population.statistics()
    true = {name: float(value[0]) for name, value in one.resampled(np.ones((1, one.rows))).items()}
    true = {name: value for name, value in true.items() if name not in CONSTANT}
    cluster_rows = alike_rows(one, next(iter(true))) if clustered else None
    counts: dict[str, Counter[str]] = {
        what: Counter() for what in ("above", "below", "no interval", "equal", "rejected")
    }
    for run in runs:
        rng = np.random.default_rng(run)
        rows, clusters = sample(one.rows, cluster_rows, rng)
        found = intervals(of_rows(one, rows), clusters=clusters, seed=run)
        for name, value in true.items():
            low, high = found[name]
            counts["above"][name] += value > high
            counts["below"][name] += value < low
            counts["no interval"][name] += not low <= high
        first, second = equally_good(both, rows, clusters, rng)
        sides = [of_rows(both, side) for side in (first, second)]
        for name, ((low, high), _) in difference_intervals(
            difference(sides[1], sides[0]), clusters=clusters, seed=run
        ).items():
            counts["equal"][name] += low - 1e-9 <= 0 <= high + 1e-9
        paired = of_rows(both, np.concatenate([first, second]))
        for name, p_value in p_values(paired, sides, clusters, seed=run).items():
            counts["rejected"][name] += p_value <= 0.05  # a multiple of 1/400
    units = f"{CLUSTERS} clusters of {CLUSTER_ROWS} rows" if clustered else f"{ROWS} rows"
    for name in true:
        shares = {what: count[name] / len(runs) for what, count in counts.items()}
        contained = 1 - shares["above"] - shares["below"] - shares["no interval"]
        cells = [contained, *(shares[what] for what in ("above", "below", "equal", "rejected"))]
        yield f"| `{name}` | {population.name} | {units} | {' | '.join(f'{cell:.1%}' for cell in cells)} |"


def sample(count: int, cluster_rows: IntArray | None, rng: np.random.Generator) -> tuple[IntArray, list[int] | None]:
    """Rows of the population, drawn with replacement, and the cluster of each."""
    if cluster_rows is None:
        return rng.integers(count, size=ROWS), None
    rows = cluster_rows[rng.integers(len(cluster_rows), size=CLUSTERS)]
    return rows.ravel(), [cluster for cluster in range(CLUSTERS) for _ in range(CLUSTER_ROWS)]


def equally_good(
    both: RowStatistics, rows: IntArray, clusters: list[int] | None, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """The rows of `both` that two systems have, which are equally good on the population."""
    half = both.rows // 2
    tosses = rng.integers(2, size=len(rows) if clusters is None else CLUSTERS)
    tosses = tosses if clusters is None else np.repeat(tosses, CLUSTER_ROWS)
    return rows + half * tosses, rows + half * (1 - tosses)


def p_values(
    paired: RowStatistics, sides: list[RowStatistics], clusters: list[int] | None, *, seed: int
) -> dict[str, float]:
    found = randomisation(paired, clusters=clusters, permutations=PERMUTATIONS, seed=seed)
    if clusters is None:
        for name in ZERO_OR_ONE & found.keys():
            found[name] = mcnemar(*(right_rows(side, name) for side in sides))
    return found


def of_rows(statistics: RowStatistics, rows: IntArray) -> RowStatistics:
    """The statistics of a sample of rows, which may have a row several times."""
    from scipy.sparse import csr_array

    places = csr_array((np.ones(len(rows)), (np.arange(len(rows)), rows)), shape=(len(rows), statistics.rows))

    def resampled(weights: FloatArray) -> dict[str, FloatArray]:
        return statistics.resampled(np.asarray(weights @ places))

    def influences(weights: FloatArray) -> dict[str, FloatArray]:
        of_population = statistics.influences(np.asarray(weights @ places)) if statistics.influences else {}
        return {name: values[:, rows] for name, values in of_population.items()}

    return RowStatistics(len(rows), resampled, statistics.bounds, influences)


def alike_rows(statistics: RowStatistics, score: str) -> IntArray:
    """(clusters, rows) rows whose scores are alike: in order of a score with as much noise as it varies."""
    values = np.nan_to_num(statistics.resampled(np.eye(statistics.rows))[score])
    rng = np.random.default_rng(0)
    order = np.argsort(values + rng.normal(scale=values.std() or 1.0, size=len(values)))
    count = statistics.rows // CLUSTER_ROWS
    return order[: count * CLUSTER_ROWS].reshape(count, CLUSTER_ROWS)


if __name__ == "__main__":
    main()

"""How often 95 % intervals contain the true score, and how often paired tests find a difference that is not there.

    python benchmarks/coverage.py FOLDER [--runs 1000] [--only NAME] [PREDICTIONS.jsonl:METRIC,METRIC ...]

FOLDER has texts with sections, summaries and translations (debian-*.jsonl and .csv). Small models of two kinds predict
their test rows; files of predictions that `llmkit evaluate` wrote can be added. The rows with both predictions are a
population, from which samples of 200 rows, or of 40 clusters of 10 alike rows, are drawn with replacement. Its own score
is the true one. For the tests, both systems change their predictions in rows (or clusters) by the toss of a coin, so that
they are equally good.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmkit.evaluation.metrics import row_statistics
from llmkit.evaluation.uncertainty.bootstrap import intervals
from llmkit.evaluation.uncertainty.paired import mcnemar, randomisation, right_rows
from llmkit.evaluation.uncertainty.statistics import FloatArray, RowStatistics

ROWS, CLUSTERS, CLUSTER_ROWS = 200, 40, 10
POPULATION = 800
PERMUTATIONS = 399
ZERO_OR_ONE = {"accuracy", "f1_micro", "exact_match", "exact_text"}
CONSTANT = {"majority_share", "majority_tag_share"}
IntArray = NDArray[np.int64]


class Population(NamedTuple):
    name: str
    metrics: list[str]
    first: list[Any]
    """Predictions of one model."""
    second: list[Any]
    references: list[Any]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("predictions", nargs="*")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args()
    print("| metric | units | interval contains the score | test rejects |\n|---|---|---|---|")
    for population in populations(options.folder, options.predictions):
        if options.only and population.name not in options.only:
            continue
        for clustered in (False, True):
            for line in simulated(population, clustered=clustered, runs=options.runs):
                print(line, flush=True)


def populations(folder: Path, files: Sequence[str]) -> Iterator[Population]:
    for make in (sections, label_sets, numbers, summaries, translations):
        yield make(folder)
    for argument in files:
        path, _, metrics = argument.rpartition(":")
        yield of_file(Path(path), metrics.split(","))


def sections(folder: Path) -> Population:
    """Labels by logistic regression and by naive Bayes."""
    from sklearn.naive_bayes import MultinomialNB

    train, test = (table(folder / f"debian-sections.{split}.csv") for split in ("train", "test"))
    texts, references = [row["text"] for row in test], [row["label"] for row in test]
    labels = [row["label"] for row in train]
    sides = [predicted(model, train, labels, texts) for model in (logistic(), MultinomialNB())]
    return Population("sections", ["accuracy", "f1", "mcc"], sides[0], sides[1], references)


def label_sets(folder: Path) -> Population:
    """The same with a probability for each label."""
    from sklearn.naive_bayes import MultinomialNB

    train, test = (table(folder / f"debian-sections.{split}.csv") for split in ("train", "test"))
    labels = [row["label"] for row in train]
    names = sorted(set(labels))
    sides = []
    for model in (logistic(), MultinomialNB()):
        pipeline = fitted(model, train, labels)
        shares = pipeline.predict_proba([row["text"] for row in test]).tolist()
        rows = [dict(zip(names, row, strict=True)) for row in shares]
        sides.append([{"labels": [max(row, key=row.__getitem__)], "probabilities": row} for row in rows])
    return Population("label_sets", ["map"], sides[0], sides[1], [[row["label"]] for row in test])


def numbers(folder: Path) -> Population:
    """The length of a summary in characters, by ridge regression and by nearest neighbours."""
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor

    train = lines(folder / "debian-summaries.train.jsonl")
    train, test = train[:-POPULATION], train[-POPULATION:]
    lengths = [math.sqrt(len(row["summary"])) for row in train]
    texts, references = [row["text"] for row in test], [math.sqrt(len(row["summary"])) for row in test]
    models = (Ridge(), KNeighborsRegressor(10))
    first, second = (predicted(model, train, lengths, texts) for model in models)
    return Population("numbers", ["mse", "pearson", "spearman"], first, second, references)


def summaries(folder: Path) -> Population:
    """The summary of the most similar text, and the first words of the text itself."""
    train = lines(folder / "debian-summaries.train.jsonl")
    train, test = train[:-POPULATION], train[-POPULATION:]
    nearest = most_similar([row["text"] for row in train], [row["text"] for row in test])
    first = [train[place]["summary"] for place in nearest]
    second = [" ".join(row["text"].split()[:8]) for row in test]
    return Population("summaries", ["rouge", "squad"], first, second, [row["summary"] for row in test])


def translations(folder: Path) -> Population:
    """German that was damaged in two ways, as by a translator that leaves words out or takes others."""
    rows = lines(folder / "debian-translations.train.jsonl")[:POPULATION]
    rng = random.Random(0)
    references = [" ".join(row["de"].split()[:40]) for row in rows]
    words = [word for text in references for word in text.split()]
    rates = [rng.betavariate(1, 3) * (rng.random() < 0.9) for _ in references]
    first = [
        " ".join(word for word in text.split() if rng.random() >= rate)
        for text, rate in zip(references, rates, strict=True)
    ]
    second = [
        " ".join(rng.choice(words) if rng.random() < rate else word for word in text.split())
        for text, rate in zip(references, rates, strict=True)
    ]
    metrics = ["bleu", "chrf", "chrf++", "ter", "exact_text"]
    return Population("translations", metrics, first, second, references)


def of_file(path: Path, metrics: list[str]) -> Population:
    """Predictions of a run; the other system has lost a third of them."""
    rows = lines(path)[:POPULATION]
    rng = random.Random(0)
    first = [row["prediction"] for row in rows]
    second = [emptied(value) if rng.random() < 1 / 3 else value for value in first]
    return Population(path.parent.parent.name, metrics, first, second, [row["reference"] for row in rows])


def emptied(value: Any) -> Any:
    return ["O"] * len(value) if isinstance(value, list) else ""


def simulated(population: Population, *, clustered: bool, runs: int) -> Iterator[str]:
    """A line of the table for each score."""
    both = row_statistics(
        population.metrics, population.first + population.second, population.references + population.references
    )
    one = row_statistics(population.metrics, population.first, population.references)
    true = {name: float(value[0]) for name, value in one.resampled(np.ones((1, one.rows))).items()}
    true = {name: value for name, value in true.items() if name not in CONSTANT}
    cluster_rows = alike_rows(one, next(iter(true))) if clustered else None
    contained, rejected = Counter[str](), Counter[str]()
    for run in range(runs):
        rng = np.random.default_rng(run)
        rows, clusters = sample(one.rows, cluster_rows, rng)
        drawn = of_rows(one, rows)
        for name, (low, high) in intervals(drawn, clusters=clusters, seed=run).items():
            contained[name] += name in true and low <= true[name] <= high
        for name, p_value in null_p_values(both, rows, clusters, rng).items():
            rejected[name] += p_value <= 0.05  # a multiple of 1/400
    units = f"{CLUSTERS} clusters of {CLUSTER_ROWS} rows" if clustered else f"{ROWS} rows"
    for name in true:
        yield f"| `{name}` | {units} | {contained[name] / runs:.1%} | {rejected[name] / runs:.1%} |"


def sample(count: int, cluster_rows: IntArray | None, rng: np.random.Generator) -> tuple[IntArray, list[int] | None]:
    """Rows of the population, drawn with replacement, and the cluster of each."""
    if cluster_rows is None:
        return rng.integers(count, size=ROWS), None
    rows = cluster_rows[rng.integers(len(cluster_rows), size=CLUSTERS)]
    return rows.ravel(), [cluster for cluster in range(CLUSTERS) for _ in range(CLUSTER_ROWS)]


def null_p_values(
    both: RowStatistics, rows: IntArray, clusters: list[int] | None, rng: np.random.Generator
) -> dict[str, float]:
    """The p-values of two systems that are equally good on the population."""
    half = both.rows // 2
    tosses = rng.integers(2, size=len(rows) if clusters is None else CLUSTERS)
    tosses = tosses if clusters is None else np.repeat(tosses, CLUSTER_ROWS)
    first, second = rows + half * tosses, rows + half * (1 - tosses)
    paired = of_rows(both, np.concatenate([first, second]))
    found = randomisation(paired, clusters=clusters, permutations=PERMUTATIONS, seed=int(rng.integers(2**31)))
    if clusters is None:
        sides = [of_rows(both, side) for side in (first, second)]
        for name in ZERO_OR_ONE & found.keys():
            found[name] = mcnemar(*(right_rows(side, name) for side in sides))
    return found


def of_rows(statistics: RowStatistics, rows: IntArray) -> RowStatistics:
    """The statistics of a sample of rows, which may have a row several times."""
    from scipy.sparse import csr_array

    places = csr_array((np.ones(len(rows)), (np.arange(len(rows)), rows)), shape=(len(rows), statistics.rows))

    def resampled(weights: FloatArray) -> dict[str, FloatArray]:
        return statistics.resampled(np.asarray(weights @ places))

    return RowStatistics(len(rows), resampled, statistics.bounds)


def alike_rows(statistics: RowStatistics, score: str) -> IntArray:
    """(clusters, rows) rows whose scores are alike: in order of a score with as much noise as it varies."""
    values = np.nan_to_num(statistics.resampled(np.eye(statistics.rows))[score])
    rng = np.random.default_rng(0)
    order = np.argsort(values + rng.normal(scale=values.std() or 1.0, size=len(values)))
    count = statistics.rows // CLUSTER_ROWS
    return order[: count * CLUSTER_ROWS].reshape(count, CLUSTER_ROWS)


def logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def fitted(model: Any, train: Sequence[dict[str, str]], targets: Sequence[Any]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(TfidfVectorizer(max_features=5000), model).fit([row["text"] for row in train], targets)


def predicted(model: Any, train: Sequence[dict[str, str]], targets: Sequence[Any], texts: Sequence[str]) -> list[Any]:
    return list(fitted(model, train, targets).predict(texts).tolist())


def most_similar(known: Sequence[str], texts: Sequence[str]) -> list[int]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(max_features=5000)
    vectors = vectorizer.fit_transform(known)
    return [int(place) for place in (vectorizer.transform(texts) @ vectors.T).toarray().argmax(axis=1)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()

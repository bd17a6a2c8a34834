"""The populations of `coverage.py`: rows with the predictions of two systems."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.evaluation.metrics import loss_statistics, row_statistics
from llmkit.evaluation.uncertainty.statistics import RowStatistics
from llmkit.evaluation.values import predicted_label

POPULATION = 800


@dataclass(frozen=True)
class Population:
    name: str
    metrics: list[str]
    first: list[Any]
    """Predictions of one model."""
    second: list[Any]
    references: list[Any]

    def statistics(self) -> tuple[RowStatistics, RowStatistics]:
        """Of the first system's rows, and of both, the rows of the second after those of the first."""
        return self._of(self.first), self._of(self.first + self.second, self.references + self.references)

    def _of(self, predictions: list[Any], references: list[Any] | None = None) -> RowStatistics:
        return row_statistics(self.metrics, predictions, references or self.references)


class Losses(Population):
    """Rows of a language model, whose predictions are their losses, targets and bytes."""

    def _of(self, predictions: list[Any], references: list[Any] | None = None) -> RowStatistics:
        nats = [row["loss"] * row["targets"] for row in predictions]
        targets, sizes = ([row[key] for row in predictions] for key in ("targets", "bytes"))
        return loss_statistics(("loss", "perplexity", "bits_per_byte"), nats, targets, sizes)


def populations(folder: Path, files: Sequence[str]) -> Iterator[Population]:
    for make in (sections, label_sets, numbers, summaries, translations):
        yield make(folder)
    for argument in files:
        yield of_file(argument)


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


def of_file(argument: str) -> Population:
    """Predictions of a run, and of another on the same rows; without another, a third of them is lost, and losses are
    changed by a tenth or so.

    Args:
        argument: `FIRST[+SECOND]:METRIC,METRIC`; the metric `loss` takes files of losses.
    """
    names, _, metrics = argument.rpartition(":")
    paths = [Path(name) for name in names.split("+")]
    tables = [lines(path)[:POPULATION] for path in paths]
    name = paths[0].parent.parent.name
    rng = random.Random(0)
    if metrics == "loss":
        changed = [{**row, "loss": row["loss"] * rng.lognormvariate(0, 0.1)} for row in tables[0]]
        return Losses(name, ["loss"], tables[0], tables[1] if len(tables) > 1 else changed, [])
    first, *others = ([_prediction(row) for row in table] for table in tables)
    second = others[0] if others else [_emptied(value) if rng.random() < 1 / 3 else value for value in first]
    references = [row["reference"] for row in tables[0]]
    if len(tables) > 1 and references != [row["reference"] for row in tables[1]]:
        raise SystemExit(f"{names}: the files have other rows")
    return Population(name, metrics.split(","), first, second, references)


def _prediction(row: Mapping[str, Any]) -> Any:
    value = row["prediction"]
    if "probabilities" not in row or isinstance(value, Mapping):
        return value
    return predicted_label({"label": value, "probabilities": row["probabilities"], "abstained": None})


def _emptied(value: Any) -> Any:
    return ["O"] * len(value) if isinstance(value, list) else ""


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

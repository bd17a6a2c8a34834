"""Time of the 95 % intervals of every metric: 1,000 resamples of 10,000 rows of random labels, numbers, tags and texts.

The statistics of each row are extracted once, with the score; that time is apart from the time of the resampling.

    python benchmarks/intervals_speed.py [--rows 10000] [--resamples 1000] [--metric bleu ...]
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np

from llmkit.evaluation.metrics import METRICS, score_texts
from llmkit.evaluation.uncertainty.bootstrap import intervals
from llmkit.tasks.predicted_label import PredictedLabel

LABELS = [f"label {index}" for index in range(20)]
TAGS = ["O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG"]
WORDS = [f"{first}{last}" for first in ("mor", "ta", "ve", "lis", "ka", "so") for last in ("n", "ra", "te", "lo", "d")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--metric", nargs="*", default=[name for name, metric in METRICS.items() if metric.scores])
    options = parser.parse_args()
    rng = np.random.Generator(np.random.PCG64(0))
    print(
        f"{options.rows:,} rows, {options.resamples:,} resamples; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'metric':<18} {'statistics':>10} {'intervals':>10}  seconds")
    for name in options.metric:
        if METRICS[name].of_vectors:
            continue
        predictions, references = rows_for(name, options.rows, rng)
        started = time.perf_counter()
        scores = score_texts([name], predictions, references)
        extracted = time.perf_counter()
        assert scores.statistics is not None
        intervals(scores.statistics, resamples=options.resamples)
        finished = time.perf_counter()
        print(f"{name:<18} {extracted - started:>10.2f} {finished - extracted:>10.2f}", flush=True)


def rows_for(metric: str, rows: int, rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
    """Predictions, of which about two thirds are like the references, and the references."""
    kind = METRICS[metric].values
    if kind == "labels with probabilities":
        shares = rng.random((rows, len(LABELS)))
        sets = [list(rng.choice(LABELS, size=2, replace=False)) for _ in range(rows)]
        predictions = [{"labels": [], "probabilities": dict(zip(LABELS, row.tolist(), strict=True))} for row in shares]
        return predictions, sets
    if kind == "probabilities":
        references = rng.choice(LABELS, size=rows).tolist()
        table = rng.dirichlet(np.ones(len(LABELS)), size=rows)
        guesses = [LABELS[place] for place in table.argmax(axis=1)]
        names = tuple(LABELS)
        return [
            PredictedLabel(label, names, row, abstained=False) for label, row in zip(guesses, table, strict=True)
        ], references
    if kind == "number":
        numbers = rng.normal(size=rows)
        return (numbers + rng.normal(size=rows)).tolist(), numbers.tolist()
    if kind in ("tags", "entities"):
        references = [rng.choice(TAGS, size=15).tolist() for _ in range(rows)]
        return [_changed(row, TAGS, rng) for row in references], references
    if kind in ("label", "label or labels"):
        labels = rng.choice(LABELS, size=rows).tolist()
        return _changed(labels, LABELS, rng), labels
    texts = [rng.choice(WORDS, size=20).tolist() for _ in range(rows)]
    return [" ".join(_changed(text, WORDS, rng)) for text in texts], [" ".join(text) for text in texts]


def _changed(values: list[str], others: list[str], rng: np.random.Generator) -> list[str]:
    """A third of the values replaced by others."""
    drawn = rng.choice(others, size=len(values)).tolist()
    changed = rng.random(len(values)) < 1 / 3
    return [other if change else value for value, other, change in zip(values, drawn, changed, strict=True)]


if __name__ == "__main__":
    main()

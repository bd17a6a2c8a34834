"""Recall of nearest neighbours among vectors: whether texts with the same label have similar vectors.

Legend: N rows, D dimensions, B rows of a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import comb
from typing import TYPE_CHECKING

from llmkit.errors import DataError
from llmkit.tasks.base import Scores
from llmkit.tasks.similarity import Similarity, similarities, unit_vectors

if TYPE_CHECKING:
    import numpy as np

NEIGHBOURS = 10
_BLOCK_ELEMENTS = 4_000_000
"""Cosines in memory at once: 16 MB in float32."""


def neighbour_recall(vectors: np.ndarray, labels: Sequence[str], *, similarity: Similarity = "cosine") -> Scores:
    """Share of rows with a row of the same label among their nearest 1 and nearest 10 others.

    Each with its chance level, for as many others sampled at random. A row is never its own neighbour. Ties are
    broken by the order of the rows.

    Args:
        vectors: (N, D), of any length.
        labels: one per row.
    Returns:
        Details `nearest_labels`: for each row the label of its nearest other row.
    Raises:
        DataError: fewer than two rows.
    """
    import numpy as np

    from llmkit.evaluation.uncertainty.statistics import of_means

    if len(labels) < 2:
        raise DataError(f"neighbours need at least two labelled rows, found {len(labels)}.")
    classes = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    ids = np.array([classes[label] for label in labels])  # (N,)
    nearest = nearest_others(vectors, count=min(NEIGHBOURS, len(labels) - 1), similarity=similarity)  # (N, k)
    same = ids[nearest] == ids[:, None]  # (N, k)
    first, any_of_ten = same[:, 0], same.any(axis=1)
    scores = {
        "neighbour_recall_1": float(first.mean()),
        "neighbour_recall_10": float(any_of_ten.mean()),
        "neighbour_chance_1": _chance(labels, sample_size=1),
        "neighbour_chance_10": _chance(labels, sample_size=NEIGHBOURS),
    }
    # For the neighbours that these rows have: the copies of a row in a resample are not each other's.
    statistics = of_means({"neighbour_recall_1": first, "neighbour_recall_10": any_of_ten})
    return Scores(scores, {"nearest_labels": [labels[row] for row in nearest[:, 0]]}, statistics)


def nearest_others(vectors: np.ndarray, *, count: int, similarity: Similarity = "cosine") -> np.ndarray:
    """(N, count) the rows nearest to each row, without itself, the nearest first; exact, block by block."""
    import numpy as np

    vectors = vectors.astype(np.float32)
    if similarity == "cosine":  # once, not for each block
        vectors, similarity = unit_vectors(vectors), "dot"
    nearest = np.empty((len(vectors), count), dtype=np.int64)
    block = max(1, _BLOCK_ELEMENTS // len(vectors))
    for start in range(0, len(vectors), block):
        scores = similarities(vectors[start : start + block], vectors, similarity=similarity)  # (B, N)
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        # The count-th largest of each row, then only what reaches it: a whole sort would take most of the time.
        least = np.partition(scores, -count, axis=1)[:, -count]  # (B,)
        for row in rows:
            candidates = np.flatnonzero(scores[row] >= least[row])
            order = np.argsort(-scores[row, candidates], kind="stable")
            nearest[start + row] = candidates[order[:count]]
    return nearest


def _chance(labels: Sequence[str], *, sample_size: int) -> float:
    """Mean over rows of the probability that a sample of other rows has one with the same label."""
    others = len(labels) - 1
    sample_size = min(sample_size, others)
    samples = comb(others, sample_size)
    expected_rows = sum(
        rows * (1 - comb(len(labels) - rows, sample_size) / samples) for rows in Counter(labels).values()
    )
    return expected_rows / len(labels)

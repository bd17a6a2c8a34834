"""From a vector to its nearest rows. Knows no models and no files.

Legend: N texts, Q queries, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.tasks.similarity import Similarity, similarities

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Found:
    """A row that is near a query."""

    score: float
    """The similarity: a cosine is -1 to 1; distances are negative."""
    row: int
    """From 1."""
    text: str


class NearestRows:
    """The `top_k` rows nearest to each query, exact, over chunks of rows that are each seen once."""

    def __init__(self, queries: np.ndarray, *, top_k: int, similarity: Similarity = "cosine") -> None:
        """`queries` are (Q, D), of any length."""
        self._queries = queries.astype("float64")  # (Q, D)
        self._similarity = similarity
        self._top_k = top_k
        self._rows = 0
        self._best: list[list[Found]] = [[] for _ in queries]

    def add(self, texts: Sequence[str], vectors: np.ndarray, rows: Sequence[int] | None = None) -> None:
        """Add the next rows; `vectors` are (N, D), of any length.

        Args:
            rows: their numbers, ascending; without them, they follow those before, from 1.
        """
        import numpy as np

        rows = range(self._rows + 1, self._rows + len(texts) + 1) if rows is None else rows
        scores = similarities(self._queries, vectors.astype(np.float64), similarity=self._similarity)  # (Q, N)
        for best, row_scores in zip(self._best, scores, strict=True):
            nearest = np.argsort(-row_scores, kind="stable")[: self._top_k]  # of equal rows, the first one
            best += [Found(float(row_scores[index]), rows[int(index)], texts[index]) for index in nearest]
            best.sort(key=lambda result: (-result.score, result.row))
            del best[self._top_k :]
        self._rows += len(texts)

    def results(self) -> list[list[Found]]:
        """For each query its nearest rows so far, the nearest first; fewer than `top_k` where there are fewer rows."""
        return self._best

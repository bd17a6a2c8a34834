"""What is drawn with replacement: rows, or clusters of rows. Knows no scores.

Legend: N rows, U units (rows or clusters).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmkit.evaluation.uncertainty.statistics import FloatArray

Clusters = Sequence[Hashable] | NDArray[np.int64]
"""(N,) the cluster of each row; None for a row that is independent of all others."""
_ELEMENTS_AT_ONCE = 2**18
"""Weights in memory at once: 2 MiB, and as much for each score."""
_GROUPS = 200
"""At most so many parts of the rows are left out in turn."""


@dataclass(frozen=True)
class Units:
    """What is drawn: rows, or clusters of rows."""

    count: int
    of_row: NDArray[np.int64] | None
    """(N,) the cluster of each row; None if each row is a unit."""

    @classmethod
    def of(cls, rows: int, clusters: Clusters | None) -> Units:
        """Clusters are numbered in the order of their first rows: their names do not matter."""
        if clusters is None:
            return cls(rows, None)
        if len(clusters) != rows:
            raise ValueError(f"{len(clusters)} clusters for {rows} rows")
        keys = [(row, None) if cluster is None else (None, cluster) for row, cluster in enumerate(clusters)]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        if len(numbers) == rows:
            return cls(rows, None)
        return cls(len(numbers), np.array([numbers[key] for key in keys]))

    def resamples(self, count: int, seed: int) -> Iterator[FloatArray]:
        """Arrays (some, U) of how often each unit is drawn, `count` in all."""
        rng = np.random.Generator(np.random.PCG64(seed))
        for size in self._sizes(count):
            drawn = rng.integers(self.count, size=(size, self.count))
            drawn += self.count * np.arange(size)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=size * self.count)
            yield counts.reshape(size, self.count).astype(np.float64)

    def without_groups(self, seed: int) -> Iterator[FloatArray]:
        """Arrays (some, U) with 0 for one group of units, at random, and 1 for all others."""
        groups = min(self.count, _GROUPS)
        rng = np.random.Generator(np.random.PCG64(seed))
        group_of = rng.permutation(self.count) % groups
        start = 0
        for size in self._sizes(groups):
            kept = group_of != np.arange(start, start + size)[:, None]
            start += size
            yield kept.astype(np.float64)

    def of_rows(self, weights: FloatArray) -> FloatArray:
        """(some, N) the weight of each row, from those of units (some, U)."""
        return weights if self.of_row is None else weights[:, self.of_row]

    def sums(self, values: FloatArray) -> FloatArray:
        """(some, U) the sums over the rows of each unit, from values of rows (some, N)."""
        if self.of_row is None:
            return values
        from scipy.sparse import csr_array

        rows = np.arange(len(self.of_row))
        belongs = csr_array((np.ones(len(rows)), (rows, self.of_row)), shape=(len(rows), self.count))
        return np.asarray(values @ belongs)

    def _sizes(self, count: int) -> Iterator[int]:
        rows = self.count if self.of_row is None else len(self.of_row)
        most = max(1, _ELEMENTS_AT_ONCE // rows)
        for start in range(0, count, most):
            yield min(most, count - start)

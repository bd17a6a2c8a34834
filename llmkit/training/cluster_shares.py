"""Shares of the training rows for validation and test that keep the rows of a cluster together."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from llmkit.data.rows import Row, RowSource
from llmkit.data.splits import Split
from llmkit.errors import DataError

logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class ClusterShares:
    """Which split each cluster of a source belongs to. Reads all rows once, to count those of each cluster."""

    source: RowSource
    validation: float
    test: float

    def split_of(self, row: Row) -> Split:
        assert row.cluster is not None, "clusters with names were asked for"
        return self._splits[row.cluster]

    @cached_property
    def _splits(self) -> dict[str, Split]:
        # Bad rows are reported when the rows are read.
        sizes = Counter(str(row.cluster) for row in self.source.without_bad_rows())
        splits = splits_of_clusters(sizes, validation=self.validation, test=self.test)
        for name in ("test", "validation"):
            clusters = [cluster for cluster, split in splits.items() if split == name]
            if clusters:
                rows = sum(sizes[cluster] for cluster in clusters)
                logger.info(
                    "%s: %s of %s clusters, with %s of %s rows",
                    *(name, f"{len(clusters):,}", f"{len(sizes):,}", f"{rows:,}", f"{sizes.total():,}"),
                )
        return splits


def splits_of_clusters(sizes: Mapping[str, int], *, validation: float, test: float) -> dict[str, Split]:
    """The split of each cluster: a pure function of the clusters and their numbers of rows.

    Clusters are taken in the order of the SHA-256 of their names, first for the test split, and each only if the share has
    room for it; at last the smallest of the others, if it brings the number of rows nearer to the share. A split gets at
    least one cluster.

    Args:
        sizes: cluster -> its number of rows.
        validation: share of the rows in [0, 1).
        test: share of the rows in [0, 1).
    Raises:
        DataError: there are fewer clusters than splits.
    """
    both: dict[Split, float] = {"test": test, "validation": validation}
    shares = {name: share for name, share in both.items() if share}
    if len(sizes) <= len(shares):
        clusters = "one value" if len(sizes) == 1 else f"{len(sizes)} values"
        raise DataError(
            f"data.cluster: its column has {clusters} in the training rows, too few for {len(shares) + 1} splits: rows "
            "with the same value stay together. Name separate files for validation and test, or another column."
        )
    splits: dict[str, Split] = dict.fromkeys(sizes, "train")
    left = sorted(sizes, key=lambda cluster: hashlib.sha256(cluster.encode()).digest())
    needed = len(shares)  # clusters for the splits after this one, `train` included
    for name, share in shares.items():
        chosen = _nearest(left, sizes, rows=share * sum(sizes.values()), most=len(left) - needed)
        splits.update(dict.fromkeys(chosen, name))
        left = [cluster for cluster in left if splits[cluster] == "train"]
        needed -= 1
    return splits


def _nearest(clusters: Sequence[str], sizes: Mapping[str, int], *, rows: float, most: int) -> list[str]:
    """Clusters, in order, whose number of rows is near `rows`; at least one, and at most `most`."""
    chosen: dict[str, None] = {}
    missing = rows
    for cluster in clusters:
        if len(chosen) < most and sizes[cluster] <= missing:
            chosen[cluster] = None
            missing -= sizes[cluster]
    smallest = min((cluster for cluster in clusters if cluster not in chosen), key=lambda cluster: sizes[cluster])
    if not chosen or (len(chosen) < most and sizes[smallest] < 2 * missing):  # nearer with it than without it
        chosen[smallest] = None
    return list(chosen)

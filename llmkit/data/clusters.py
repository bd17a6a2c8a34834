"""Clusters: rows that are not independent of each other, such as the questions on one passage. Knows no files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.data.column_types import label
from llmkit.data.conll import DOCUMENT
from llmkit.data.records import described
from llmkit.errors import RowError

CLUSTER = "data.cluster"
"""The field that is read from the column of `Clusters.column`."""
NO_CLUSTERS = "none"
"""Instead of a column: each row is independent, even where the task or the files would tell clusters."""
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Clusters:
    """What tells the clusters of a task's rows."""

    column: str | None = None
    """The column that names them; without it, the two below decide."""
    field: str | None = None
    """The task's field that is equal in rows of one cluster, such as the passage of questions."""
    documents: bool = True
    """Whether the sentences of a document in CoNLL files are a cluster, if the files mark several documents."""
    is_required: bool = True
    """Whether each table must have the column; otherwise each row of a table without it is a cluster of its own."""


@dataclass(frozen=True)
class ClusterReader:
    """The clusters of the rows of some tables."""

    clusters: Clusters
    by_document: bool
    """The tables are CoNLL files, and clusters are their documents."""

    @property
    def has_names(self) -> bool:
        """Whether the data name the clusters, which no field of the task does."""
        return self.by_document or self.clusters.column is not None

    @property
    def name(self) -> str | None:
        """The column or the field that tells them, `document` for marks in CoNLL files; None if nothing does."""
        return DOCUMENT if self.by_document else self.clusters.column or self.clusters.field

    def read(self, fields: dict[str, Any], record: Mapping[str, object], place: str) -> str | None:
        """The cluster of a row; removes `CLUSTER` from its fields.

        Raises:
            RowError: as `cluster_name`.
        """
        if self.by_document:
            return short_name(str(record[DOCUMENT]))
        if CLUSTER in fields:
            [value] = fields.pop(CLUSTER)
            return short_name(cluster_name(value, column=str(self.clusters.column), place=place))
        shared = None if self.clusters.field is None else fields.get(self.clusters.field)
        return short_name(shared) if isinstance(shared, str) and shared.strip() else None


def cluster_name(value: object, *, column: str, place: str) -> str:
    """The name of a row's cluster: a text, a whole number or a truth value; or the only one in a list, in which tables
    with a word in each row have it.

    Raises:
        RowError: it is empty, something else, or a list with several values.
    """
    values = value if isinstance(value, list) else [value]
    filled = [item for item in values if item is not None and not (isinstance(item, str) and not item.strip())]
    names = {label(item) for item in filled}
    name = next(iter(names), None)
    if len(names) == 1 and name is not None:
        return name
    if len(names) > 1:
        fault = f"{column!r} has {len(names)} different values in one row. A row belongs to one cluster."
        raise RowError(place, fault, reason=f"several values in {column!r}")
    found = described(filled[0] if filled else value)
    fix = "Fill it in: a text or a whole number, and for a row that belongs to no other one of its own."
    raise RowError(place, f"{column!r} is {found}. {fix}", reason=f"{column!r} that names no cluster")


def short_name(name: str) -> str:
    """The name itself, or the beginning of its SHA-256 if it is long, such as a whole passage."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()[:16]}"

"""Rows that stand in the data more than once, within a split or in two splits."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain

from llmkit.inspection.findings import Finding, FoundRow, Severity, found, plural, share
from llmkit.inspection.rows import InspectedRow, Inspection
from llmkit.training.splits import Split

SHARED_ROWS = 0.01
"""From this share of a split on, rows that also stand in train are an error: scores on the others say too little."""


def equal_rows(inspection: Inspection) -> Iterator[Finding]:
    """Rows of a split that are equal to an earlier one."""
    removed = inspection.recipe.data.deduplicate
    for split, rows in inspection.splits.items():
        repeated = _repeated(rows, [(row.inputs, row.target) for row in rows])
        if repeated:
            message = f"{split}: {share(len(repeated), len(rows))} rows are equal to an earlier row"
            if removed:
                message += ", and are removed (data.deduplicate)"
            yield found(
                "duplicates",
                "info" if removed else "warning",
                message,
                rows=(FoundRow(row.place, row.text, f"equal to {first.place}") for row, first in repeated),
                count=len(repeated),
            )


def different_targets(inspection: Inspection) -> Iterator[Finding]:
    """Rows with equal inputs and different targets, which no model can learn."""
    by_inputs: dict[tuple[str, ...], dict[str, InspectedRow]] = {}
    for row in inspection.rows:
        if row.target:
            by_inputs.setdefault(row.inputs, {}).setdefault(row.target, row)
    groups = [list(rows.values()) for rows in by_inputs.values() if len(rows) > 1]
    if groups:
        inputs = "text" if len(groups[0][0].inputs) == 1 else "input"
        has_labels = bool(inspection.label_fields)
        targets = "labels" if has_labels else "targets"
        verb = "occurs" if len(groups) == 1 else "occur"
        yield found(
            "different-labels" if has_labels else "different-targets",
            "warning" if has_labels else "info",
            f"{plural(len(groups), inputs)} {verb} with different {targets}",
            rows=(FoundRow(row.place, row.text, row.target) for row in chain.from_iterable(groups)),
            count=sum(map(len, groups)),
        )


def nearly_equal_rows(inspection: Inspection) -> Iterator[Finding]:
    """Documents of a split that are nearly equal to another one there."""
    documents = inspection.documents
    for split in inspection.splits:
        nearest: dict[int, tuple[int, float]] = {}
        for first, second, similarity in inspection.near_documents:
            if documents[first].split == documents[second].split == split:
                nearest.setdefault(second, (first, similarity))
        if nearest:
            total = sum(row.split == split for row in documents)
            yield found(
                "near-duplicates",
                "warning",
                f"{split}: {share(len(nearest), total)} different {inspection.noun}s are nearly equal to another one",
                rows=(_near(documents, second, *pair) for second, pair in nearest.items()),
                count=len(nearest),
            )


def shared_rows(inspection: Inspection) -> Iterator[Finding]:
    """Rows of the other splits that stand in train: all inputs, or the document that decides the split."""
    train = inspection.splits["train"]
    inputs, documents = {row.inputs: row for row in reversed(train)}, {row.document: row for row in reversed(train)}
    for split, rows in _held_out(inspection):
        whole = [(row, inputs[row.inputs]) for row in rows if row.inputs in inputs]
        if whole:
            yield _shared(split, rows, whole, f"rows are also in train (the same {inspection.noun})")
        part = [
            (row, documents[row.document]) for row in rows if row.inputs not in inputs and row.document in documents
        ]
        if part:
            yield _shared(split, rows, part, f"rows share their {inspection.noun} with a row of train")


def shared_clusters(inspection: Inspection) -> Iterator[Finding]:
    """Rows of the other splits whose cluster (`data.cluster`) also has rows in train, though they share no document."""
    train = inspection.splits["train"]
    documents = {row.document for row in train}
    clusters = {row.cluster: row for row in reversed(train) if row.cluster is not None}
    for split, rows in _held_out(inspection):
        shared = [
            (row, clusters[row.cluster]) for row in rows if row.cluster in clusters and row.document not in documents
        ]
        if shared:
            yield _shared(split, rows, shared, "rows are of a cluster that train has too")


def nearly_shared_rows(inspection: Inspection) -> Iterator[Finding]:
    """Documents of the other splits that are nearly equal to one of train."""
    documents = inspection.documents
    for split, rows in _held_out(inspection):
        nearest: dict[int, tuple[int, float]] = {}
        for first, second, similarity in inspection.near_documents:
            if documents[first].split == "train" and documents[second].split == split:
                nearest.setdefault(second, (first, similarity))
        if not nearest:
            continue
        texts = {documents[second].document for second in nearest}
        count = sum(row.document in texts for row in rows)
        yield found(
            "near-leakage",
            "warning",
            f"{split}: {share(count, len(rows))} rows have a {inspection.noun} that is nearly equal to one of train",
            rows=(_near(documents, second, *pair) for second, pair in nearest.items()),
            count=count,
        )


def _held_out(inspection: Inspection) -> Iterator[tuple[Split, list[InspectedRow]]]:
    return ((split, rows) for split, rows in inspection.splits.items() if split != "train" and rows)


def _shared(
    split: Split, rows: Sequence[InspectedRow], pairs: Sequence[tuple[InspectedRow, InspectedRow]], what: str
) -> Finding:
    severity: Severity = "error" if len(pairs) >= SHARED_ROWS * len(rows) else "warning"
    return found(
        "leakage",
        severity,
        f"{split}: {share(len(pairs), len(rows))} {what}",
        rows=(FoundRow(row.place, row.text, f"as {first.place}") for row, first in pairs),
        count=len(pairs),
    )


def _near(documents: Sequence[InspectedRow], second: int, first: int, similarity: float) -> FoundRow:
    row, other = documents[second], documents[first]
    return FoundRow(row.place, row.document, f"{similarity:.0%} as {other.place}")


def _repeated(rows: Sequence[InspectedRow], keys: Sequence[Hashable]) -> list[tuple[InspectedRow, InspectedRow]]:
    """Rows whose key an earlier row has, each with that row."""
    first: dict[Hashable, InspectedRow] = {}
    return [
        (row, before) for row, key in zip(rows, keys, strict=True) if (before := first.setdefault(key, row)) is not row
    ]

"""How often each label occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from llmkit.data.labels import alike
from llmkit.inspection.findings import Finding, FoundRow, found, plural
from llmkit.inspection.rows import Inspection
from llmkit.training.splits import Split

_SHOWN = 10
_RARE = 5
"""A label of fewer training rows than this is rare."""
_IMBALANCE = 20
"""The most frequent label has this many times the rows of the rarest."""


def label_counts(inspection: Inspection) -> Iterator[Finding]:
    """The labels of each split, those that are rare or missing, and those that are written in two ways."""
    if not inspection.label_fields:
        return
    counts = {split: _counted(inspection, split) for split in inspection.splits}
    train = counts["train"]
    for split, count in counts.items():
        if count:
            yield Finding("labels", "info", f"{split}: {plural(len(count), 'label')}: {_listed(count)}")
    outside = {"O"} if "O" in train and len(train) > 2 else set()  # of tags: no label
    ranked = [(name, count) for name, count in train.most_common() if name not in outside]
    rare = [name for name, count in ranked if count < _RARE]
    if rare:
        yield _finding(inspection, "rare-labels", "train", f"fewer than {_RARE} rows have", rare, train)
    if len(ranked) > 1 and ranked[0][1] >= _IMBALANCE * ranked[-1][1]:
        (most, many), (least, few) = ranked[0], ranked[-1]
        ratio = f"{most!r:.60} has {many:,} rows of train, {least!r:.60} has {few:,}"
        yield Finding("imbalance", "info", f"{ratio}; see class_weights")
    for split, count in counts.items():
        if split != "train" and count:
            missing = [name for name, _ in ranked if not count[name]]
            unseen = [name for name in count if not train[name]]
            if missing:
                yield Finding("missing-labels", "info", f"{split}: no row has {_named(missing)}", len(missing))
            if unseen:
                yield _finding(inspection, "unseen-labels", split, "no row of train has", unseen, count)
    for names in alike(train):
        message = "labels that differ only in how they are written:"
        yield _finding(inspection, "similar-labels", "train", message, names, train)


def _counted(inspection: Inspection, split: Split) -> Counter[str]:
    """Rows with each label."""
    return Counter(name for row in inspection.splits[split] for name in set(inspection.labels_of(row)))


def _finding(
    inspection: Inspection, check: str, split: Split, message: str, names: Sequence[str], counts: Counter[str]
) -> Finding:
    """A warning with the rows of a split that have these labels."""
    rows = (
        FoundRow(row.place, row.text, name)
        for row in inspection.splits[split]
        for name in names
        if name in inspection.labels_of(row)
    )
    count = sum(counts[name] for name in names)
    return found(check, "warning", f"{split}: {message} {_named(names, counts)}", rows=rows, count=count)


def _named(names: Sequence[str], counts: Counter[str] | None = None) -> str:
    shown = (f"{name!r:.60}" + (f" ({counts[name]:,})" if counts else "") for name in names[:_SHOWN])
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _listed(counts: Counter[str]) -> str:
    """The most frequent labels with their rows."""
    return _named([name for name, _ in counts.most_common()], counts)

"""Labels of predictions and references that are written differently: `LABEL_1`, the class id 1, or a name.

A row's value is a label, a list of labels or tags, or labels with probabilities.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from llmkit.data.labels import LabelCount
from llmkit.errors import DataError, UsageError
from llmkit.evaluation.values import Value, ValueKind
from llmkit.tasks.predicted_label import PredictedLabel

logger = logging.getLogger("llmkit")
LABEL_KINDS: frozenset[ValueKind] = frozenset(
    {"label", "label or labels", "labels with probabilities", "probabilities", "tags", "entities"}
)
_Writing = Literal["as LABEL_0, LABEL_1 and so on", "as class ids", "as names"]


def rename_labels(rows: Iterable[Any], names: Mapping[str, str]) -> list[Any]:
    """The rows with other names for some labels.

    Raises:
        UsageError: two labels with probabilities get one name.
    """
    return [_renamed(value, names) for value in rows]


def check_labels_match(metric: str, predictions: Sequence[Any], references: Sequence[Any]) -> None:
    """Refuse labels that cannot be equal since they are written differently; warn if none occurs on both sides.

    Raises:
        DataError: one side has names and the other numbers, or the names that transformers makes up.
    """
    predicted, correct = (set(_labels_in(side)) for side in (predictions, references))
    if not predicted or not correct or predicted & correct:
        return
    sides = f"predictions: {_listed(predicted)}; references: {_listed(correct)}"
    writing, other = _writing(predicted), _writing(correct)
    if writing is not None and other is not None and writing != other:
        label = sorted(predicted)[0]
        raise DataError(
            f"{metric}: the predictions have labels {writing}, the references {other} ({sides}). Say which are the "
            f"same, each with --label, such as --label {label}={sorted(correct)[0]}"
        )
    logger.warning("%s: no label of the predictions occurs in the references (%s)", metric, sides)


def warn_of_alike(sides: Iterable[tuple[Sequence[Value], Sequence[Any]]]) -> None:
    """Warn of labels that differ only in case, white space or Unicode form, in a file or between the files.

    Args:
        sides: of each file the values, for their places, and their labels.
    """
    count = LabelCount()
    for values, rows in sides:
        for item, row in zip(values, rows, strict=True):
            labels = row["labels"] if isinstance(row, Mapping) else [row] if isinstance(row, str) else row
            count.add(filter(None, labels), place=item.place)
    count.warn_of_alike()


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, PredictedLabel):
        renamed = tuple(names.get(label, label) for label in value.names)
        _check_distinct(renamed)
        return PredictedLabel(names.get(value, str(value)), renamed, value.shares, abstained=value.abstained)
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [names.get(label, label) for label in value]
    _check_distinct([names.get(label, label) for label in value["probabilities"]])
    probabilities = {names.get(label, label): number for label, number in value["probabilities"].items()}
    return {"labels": [names.get(label, label) for label in value["labels"]], "probabilities": probabilities}


def _check_distinct(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise UsageError("--label: two labels get the same name, so that their probabilities cannot be told apart.")


def _labels_in(rows: Sequence[Any]) -> Iterator[str]:
    """All labels; an empty text is a wrong prediction, not a label."""
    for value in rows:
        if isinstance(value, PredictedLabel):
            yield from value.names
        elif isinstance(value, Mapping):
            yield from [*value["labels"], *value["probabilities"]]
        else:
            yield from filter(None, [value] if isinstance(value, str) else value)


def _writing(labels: set[str]) -> _Writing | None:
    """How all labels are written; None if they differ."""
    patterns: tuple[tuple[str, _Writing], ...] = (
        (r"LABEL_\d+", "as LABEL_0, LABEL_1 and so on"),
        (r"-?\d+(\.\d+)?", "as class ids"),
    )
    matching = {
        next((writing for pattern, writing in patterns if re.fullmatch(pattern, label)), "as names") for label in labels
    }
    return matching.pop() if len(matching) == 1 else None  # type: ignore[return-value]


def _listed(labels: set[str]) -> str:
    shown = sorted(labels)[:5]
    return ", ".join([*map(repr, shown), *(["..."] if len(labels) > len(shown) else [])])

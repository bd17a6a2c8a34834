"""Labels of rows as a 0 or 1 for each label, in files of predictions and references.

They are read by the names in the predictions' probabilities, or by position if both files have them; else `[1, 0, 1]`
would be the labels "0" and "1" and nearly always right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.data import column_types
from llmkit.errors import DataError
from llmkit.evaluation.values import Value


def with_names(
    metric: str, predictions: Sequence[Value], references: Sequence[Value]
) -> tuple[Sequence[Value], Sequence[Value]]:
    """Both sides with lists of names in place of lists of 0 and 1; unchanged if neither has such lists.

    Raises:
        DataError: only one of them has, and the labels have no names.
    """
    sides = (predictions, references)
    lists = [[_listed(item.value) for item in side] for side in sides]
    names = _names(predictions)
    lengths = [_length(rows) for rows in lists]
    certain = [length is not None and _is_certain(rows, names) for length, rows in zip(lengths, lists, strict=True)]
    if not any(certain):
        return sides
    if names:
        for side, length, is_certain in zip(sides, lengths, certain, strict=True):
            if is_certain and length != len(names):
                raise DataError(_fault(side[0], f"{length} values for {len(names)} labels with a probability", metric))
    elif lengths[0] is not None and lengths[0] == lengths[1]:
        names = tuple(f"label {index}" for index in range(lengths[0]))
        certain = [True, True]
    else:
        raise DataError(_fault(sides[certain.index(True)][0], "a 0 or 1 for each label, without names", metric))
    renamed = [
        _renamed(side, rows, names) if is_certain else side
        for side, rows, is_certain in zip(sides, lists, certain, strict=True)
    ]
    return renamed[0], renamed[1]


def _fault(item: Value, fault: str, metric: str) -> str:
    return (
        f"{item.place}: {item.name} has {fault}. {metric} needs the names of each row's labels in both files, a 0 or 1 "
        "for each label in both, or predictions with the probability of each label, as classify writes them."
    )


def _names(predictions: Sequence[Value]) -> tuple[str, ...]:
    value = predictions[0].value if predictions else None
    shares = value.get("probabilities") if isinstance(value, Mapping) else None
    return tuple(map(str, shares)) if isinstance(shares, Mapping) else ()


def _listed(value: object) -> list[Any] | None:
    value = value["labels"] if isinstance(value, Mapping) and "labels" in value else value
    if isinstance(value, str):
        value = column_types.parsed_list(value)
    return value if isinstance(value, list) else None


def _length(rows: Sequence[list[Any] | None]) -> int | None:
    """The number of values of each row, if it is the same for all and all are 0 or 1."""
    first = rows[0] if rows else None
    if not first or not all(
        row is not None and len(row) == len(first) and all(column_types.flag(item) is not None for item in row)
        for row in rows
    ):
        return None
    return len(first)


def _is_certain(rows: Sequence[list[Any] | None], names: Sequence[str]) -> bool:
    """Whether some row cannot be a list of names: a value repeats, is no name, or is not among the known ones."""
    for row in rows:
        read = column_types.labels(row)
        if read is None or len(set(read)) < len(read) or any(isinstance(item, bool) for item in row or ()):
            return True
        if names and not set(read) <= set(names):
            return True
    return False


def _renamed(side: Sequence[Value], rows: Sequence[list[Any] | None], names: Sequence[str]) -> list[Value]:
    renamed = []
    for item, row in zip(side, rows, strict=True):
        labels = [name for name, flag in zip(names, row or (), strict=True) if column_types.flag(flag)]
        value = {**item.value, "labels": labels} if isinstance(item.value, Mapping) else labels
        renamed.append(item._replace(value=value))
    return renamed

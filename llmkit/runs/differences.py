"""What differs between two runs of one recipe: environment, data, recipe, metrics. Knows no weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Part = Literal["environment", "data", "recipe", "metrics"]
_TIMES = frozenset({"train/seconds"})
"""Metrics that differ in every run."""


@dataclass(frozen=True)
class Difference:
    """A value that is not the same in two runs."""

    part: Part
    key: str
    before: Any
    """None where only the second run has it."""
    after: Any
    step: int | None = None
    """Of a metric."""


def differences(part: Part, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The values that differ, by their dotted keys, in the order of the first run."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key):
            yield Difference(part, key, old.get(key), new.get(key))


def first_metric(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]], *, not_evaluated: frozenset[int]
) -> Difference | None:
    """The first step or evaluation with another value, times left out; lines that the first run has lost are skipped.

    Args:
        not_evaluated: steps after which only the first run was evaluated.
    """
    new = {_kind(line): line for line in after}
    for line in before:
        kind = _kind(line)
        if kind not in new and kind[1] == "evaluation" and line["step"] in not_evaluated:
            continue
        for key, value in line.items():
            found = new.get(kind, {}).get(key)
            if key not in _TIMES and (kind not in new or found != value):
                return Difference("metrics", key, value, found, step=line["step"])
    return None


def _kind(line: Mapping[str, Any]) -> tuple[int, str]:
    """The step of a line of metrics.jsonl, and whether it is of the training or of an evaluation."""
    name = next((key for key in line if key != "step"), "")
    return line["step"], name.partition("/")[0]


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value inside mappings and lists, with its dotted key."""
    items: Iterable[tuple[object, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        yield prefix, value
    for key, inner in items:
        yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))

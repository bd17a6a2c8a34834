"""Weights of classes in the loss: those of the recipe, or `auto`, which gives rare classes more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from llmkit.errors import DataError, nearest

ClassWeights = Literal["auto"] | dict[str, Annotated[float, Field(gt=0)]]


def refuse_unknown(weights: ClassWeights | None, labels: Collection[str]) -> None:
    """
    Raises:
        DataError: a weight of a label that the model does not have.
    """
    unknown = [name for name in weights if name not in labels] if isinstance(weights, dict) else []
    if unknown:
        hint = nearest(unknown[0], labels)
        raise DataError(f"class_weights: no label is called {unknown[0]!r}.{hint} There are {', '.join(labels)}.")


def even_weights_of_counts(counts: Mapping[str, int]) -> dict[str, float]:
    """N / (C x count) for each class that occurs, N the sum of the counts: all classes have the same total weight."""
    present = {name: count for name, count in counts.items() if count}
    total = sum(present.values())
    return {name: total / (len(present) * count) for name, count in present.items()}


def even_weights_of_sets(rows: Sequence[Sequence[str]], labels: Sequence[str]) -> dict[str, float]:
    """For each label the rows without it over the rows with it: both have the same total weight.

    A label that all rows have, or none, has no weight.
    """
    sets = [set(row) for row in rows]
    counts = {label: sum(label in row for row in sets) for label in labels}
    return {label: (len(sets) - count) / count for label, count in counts.items() if 0 < count < len(sets)}

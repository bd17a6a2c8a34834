"""The rows of a recipe's splits as the checks see them: what is read, what is learned, and which text decides the split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from llmkit.data.column_types import TEXT_TYPES, texts_for_split, texts_in
from llmkit.data.rows import Row
from llmkit.inspection.near import NearPair, near_pairs
from llmkit.tasks.base import TaskRecipe
from llmkit.training.splits import Split

LABEL_TYPES = ("label", "labels", "spans")
"""Types of columns with names of classes."""


@dataclass(frozen=True, slots=True)
class InspectedRow:
    split: Split
    place: str
    inputs: tuple[str, ...]
    """What the model reads: a text for each of its columns."""
    document: str
    """The input that decides the split, such as the passage of a question."""
    target: str
    """What the model learns, as JSON; empty for a task that needs only text."""
    fields: Mapping[str, Any]
    cluster: str | None = None
    """What the row shares with others (`data.cluster`); None for an independent row."""

    @property
    def text(self) -> str:
        """The inputs in one line, for people."""
        return " | ".join(text for text in self.inputs if text)


def inspected(recipe: TaskRecipe, split: Split, rows: Iterable[Row]) -> Iterator[InspectedRow]:
    for row in rows:
        targets, inputs = {}, {}
        for name, value in row.fields.items():
            if name in recipe.TARGET_FIELDS:
                targets[name] = value
            elif recipe.column_types[name] in TEXT_TYPES:
                inputs[name] = _as_text(value)
        if isinstance(messages := row.fields.get("messages"), list):
            targets["messages"] = [message["content"] for message in messages if message["role"] == "assistant"]
        document = next(inputs[name] for name in recipe.READ_FIELDS if name in inputs)
        target = json.dumps(targets, ensure_ascii=False, sort_keys=True) if targets else ""
        yield InspectedRow(split, row.place, tuple(inputs.values()), document, target, row.fields, row.cluster)


def _as_text(value: Any) -> str:
    words = isinstance(value, list) and all(isinstance(word, str) for word in value)
    return (" " if words else "\n").join(texts_for_split(value))


@dataclass(frozen=True)
class Inspection:
    """All rows of a recipe, and what several checks need of them."""

    recipe: TaskRecipe
    splits: Mapping[Split, list[InspectedRow]]
    labels: tuple[str, ...]
    """Names of the model's classes; empty for a head without them."""

    @property
    def rows(self) -> Iterator[InspectedRow]:
        """Those of all splits; training rows come first."""
        return chain.from_iterable(self.splits.values())

    @property
    def row_count(self) -> int:
        return sum(map(len, self.splits.values()))

    @property
    def noun(self) -> str:
        """What `InspectedRow.document` is called."""
        fields = self.recipe.READ_FIELDS
        return "text" if len(fields) == 1 else fields[0]

    @cached_property
    def documents(self) -> list[InspectedRow]:
        """The first row of each different document."""
        return list({row.document: row for row in reversed(list(self.rows))}.values())[::-1]

    @cached_property
    def near_documents(self) -> list[NearPair]:
        """Pairs of numbers in `documents`."""
        return near_pairs([row.document for row in self.documents])

    @cached_property
    def label_fields(self) -> tuple[str, ...]:
        """Columns with names of classes."""
        if len(self.labels) < 2:
            return ()
        types = self.recipe.column_types
        return tuple(name for name in self.recipe.TARGET_FIELDS if types.get(name) in LABEL_TYPES)

    def labels_of(self, row: InspectedRow) -> list[str]:
        """The names of classes in a row, in order."""
        values = (row.fields[name] for name in self.label_fields if name in row.fields)
        return [label for value in values for label in _labels_in(value)]

    def texts_of(self, row: InspectedRow) -> list[str]:
        """All texts of a row, those to be written included."""
        types = self.recipe.column_types
        return [text for name, value in row.fields.items() if types[name] in TEXT_TYPES for text in texts_in(value)]

    def column_texts(self, row: InspectedRow) -> Iterator[tuple[str, str]]:
        """Each text column with its text: words joined by spaces, messages by line ends."""
        types = self.recipe.column_types
        for name, value in row.fields.items():
            if types[name] == "messages":
                yield name, "\n".join(message["content"] for message in value)
            elif types[name] in TEXT_TYPES:
                yield name, " ".join(texts_in(value))


def _labels_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [label["label"] if isinstance(label, Mapping) else label for label in value]

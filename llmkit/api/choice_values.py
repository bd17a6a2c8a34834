"""Answers of multiple choice, which rows name by index, letter or text, as the indexes that `choose` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmkit.data.column_types import label, texts
from llmkit.data.fields import Fields
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.evaluation.values import Value, ValueKind
from llmkit.recipe.blocks import Quoting
from llmkit.tasks.multiple_choice.choices import correct_choice

INDEX = "index"
"""The column of the choice that `choose` predicts."""
_WRITTEN = {"choices", "choice", INDEX}


def are_choices(names: Sequence[str], kinds: Sequence[ValueKind]) -> bool:
    """Whether a file with these columns has the results of `choose`, and the metrics compare labels."""
    return set(names) >= _WRITTEN and set(kinds) <= {"label", "label or labels"}


def as_indexes(references: Sequence[Value], results: str | Path, *, quoting: Quoting) -> list[Value]:
    """The references as indexes among the choices of the results, row by row.

    Raises:
        DataError: a reference that names no choice, or could mean two.
    """
    rows = open_rows([str(results)], Fields(column_types={"choices": "any"}), quoting=quoting, keep_empty=True)
    indexes = []
    for reference, row in zip(references, rows, strict=True):
        choices, answer = texts(row.fields["choices"][0]), label(reference.value)
        if choices is None or answer is None:
            raise DataError(f"{reference.place}: {reference.name} names none of the choices.{reference.advice}")
        index = correct_choice(answer, choices, spelling="auto", place=reference.place)
        indexes.append(reference._replace(value=index))
    return indexes

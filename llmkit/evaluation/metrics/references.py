"""References of texts: one per row, or a list of several."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

References = Sequence[str | Sequence[str]]


def by_row(references: References) -> list[list[str]]:
    """The references of each row; at least one."""
    return [[reference] if isinstance(reference, str) else list(reference) for reference in references]


def by_number(references: References) -> list[list[Any]]:  # of texts and None, which sacrebleu's types lack
    """The first reference of all rows, the second, and so on, as sacrebleu takes them; None where a row has fewer."""
    return [list(column) for column in zip_longest(*by_row(references))]


def all_texts(references: References) -> list[str]:
    return [text for row in by_row(references) for text in row]

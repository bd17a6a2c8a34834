"""Values that look like what a role wants, and are not."""

from __future__ import annotations

import pytest

from llmkit.data.column_types import READERS, ValueFault
from llmkit.recipe.blocks import ColumnType


@pytest.mark.parametrize("cell", ["[" * 100_000, "[" * 3000 + "]" * 3000])
@pytest.mark.parametrize("kind", ["labels", "words", "spans", "answers", "messages"])
def test_a_cell_of_brackets_is_no_value_of_any_kind(kind: ColumnType, cell: str) -> None:
    """The decoder ended in a RecursionError, which was reported as a defect."""
    assert _refused(kind, cell)


def test_a_key_that_stands_twice_in_a_cell_is_refused_as_in_a_file() -> None:
    assert _refused("messages", '[{"role": "user", "content": "a", "content": "b"}]')


def _refused(kind: ColumnType, value: object) -> bool:
    try:
        return READERS[kind](value) is None
    except ValueFault:
        return True


@pytest.mark.parametrize("value", [10**400, -(10**400), "1_000", "1e999", "nan", True, None, "", float("inf")])
def test_what_is_no_finite_number_is_none(value: object) -> None:
    """A whole number beyond all floats ended in an OverflowError; `1_000` was read as Python reads it."""
    assert READERS["number"](value) is None


@pytest.mark.parametrize(("value", "number"), [(3, 3.0), ("-2.5", -2.5), ("1e3", 1000.0), (" 4 ", 4.0)])
def test_text_may_spell_a_number(value: object, number: float) -> None:
    assert READERS["number"](value) == number

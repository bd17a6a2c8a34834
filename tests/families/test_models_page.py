"""The tables of docs/models.md are those that are tested."""

from __future__ import annotations

import re

from cases import CASES, TITLES, Use, holds_for
from test_docs import tables


def codes(cell: str) -> list[str]:
    return re.findall(r"`([\w-]+)`", cell)


def rows_below(first: str) -> list[list[str]]:
    """The rows of the table whose header begins so."""
    return next(
        rows for heading, header, rows in tables("models.md") if header[0] == first and heading == "What is tested"
    )


def test_the_models_page_has_each_type_with_its_tested_tasks() -> None:
    shown = {codes(kind)[0]: tuple(codes(tasks)) for kind, tasks in rows_below("`model_type`")}
    assert shown == {case.model_type: case.uses for case in CASES}


def test_the_models_page_has_each_invariant_with_its_tasks() -> None:
    uses: set[Use] = {use for case in CASES for use in case.uses}
    shown = {
        title: uses - set(codes(cell)) if cell.startswith("all") else set(codes(cell))
        for title, cell in rows_below("invariant")
    }
    assert shown == {title: {use for use in uses if holds_for(invariant, use)} for invariant, title in TITLES.items()}

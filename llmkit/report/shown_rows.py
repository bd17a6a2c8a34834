"""The inputs of the rows that a report shows, kept in the run folder: data files may move, a report stays as it was."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST_CHARACTERS = 2_000
"""Of all texts of a row together."""


@dataclass(frozen=True)
class ShownRow:
    """What the model read in a row."""

    place: str
    """Where the row stands: `reviews.csv:7`."""
    fields: Mapping[str, Any]
    """Field of the task -> its value, which may be shortened."""


def shown_lines(
    rows: Iterable[tuple[str, Mapping[str, Any]]], lines: Collection[int], *, expected_rows: int
) -> bytes | None:
    """The content of a file with these rows.

    Args:
        rows: place and fields of every row.
        lines: numbers of the rows to keep, from 0.
        expected_rows: number of predictions.
    Returns:
        None if there is not exactly one row for each prediction, so that nobody knows which belongs to which.
    """
    kept, count = [], 0
    for number, (place, fields) in enumerate(rows):
        count += 1
        if number in lines:
            kept.append({"line": number, "place": place, "fields": _shortened(fields)})
    if count != expected_rows:
        return None
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    return text.encode(errors="backslashreplace")


def read_shown_rows(path: Path) -> dict[int, ShownRow]:
    """Line of the predictions -> row; damaged lines are left out."""
    rows: dict[int, ShownRow] = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
                rows[int(record["line"])] = ShownRow(str(record["place"]), dict(record["fields"]))
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
    return rows


def _shortened(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with long texts cut at their end; words and messages stay lists."""
    room = _MOST_CHARACTERS
    shortened: dict[str, Any] = {}
    for name, value in fields.items():
        shortened[name], room = _cut(value, room)
    return shortened


def _cut(value: Any, room: int) -> tuple[Any, int]:
    if isinstance(value, str):
        omitted = len(value) - max(0, room)
        return (value if omitted <= 0 else f"{value[: max(0, room)]} […{omitted:,} more characters]"), room - len(value)
    if isinstance(value, list | tuple):
        items = []
        for index, item in enumerate(value):
            if room <= 0:
                items.append(f"[…{len(value) - index:,} more]")
                break
            cut, room = _cut(item, room)
            items.append(cut)
        return items, room
    if isinstance(value, dict):
        content = {}
        for key, item in value.items():
            content[str(key)], room = _cut(item, room)
        return content, room
    return (value if isinstance(value, int | float | bool | None) else str(value)), room - 8

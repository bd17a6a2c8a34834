"""Rows with the results of a verb, one for one: a row without a text has no result, and is counted."""

from __future__ import annotations

import logging
import re
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from llmkit.api.texts import InputRow
from llmkit.errors import DataError, LlmkitError

Value = TypeVar("Value")
Result = TypeVar("Result")
_PLACES_SHOWN = 10
_ROW = re.compile(r"row ([\d,]+): ")
"""How a verb begins a message about one of its inputs, which it counts from 1."""

logger = logging.getLogger("llmkit")


def results_of_rows(
    rows: Iterable[InputRow[Value]],
    use: Callable[[Iterator[Value]], Iterator[Result]],
    *,
    some_before: bool = False,
) -> Iterator[tuple[InputRow[Value], Result | None]]:
    """Each row with its result, in order; None for a row without a text, which the model does not see.

    The rows without a text are counted in one warning, after the last result.

    Args:
        use: a verb, which gives one result per value, in order.
        some_before: an earlier command has had rows of this input; it may be that the others have no text.
    Raises:
        DataError: no row has a text.
        LlmkitError: as the verb, with the number of the row here.
    """
    waiting: deque[InputRow[Value]] = deque()
    empty_places: list[str] = []
    read_rows = array("q")  # the number of each row that the verb has read
    row_count = empty = 0

    def values() -> Iterator[Value]:
        nonlocal row_count, empty
        for row in rows:
            row_count += 1
            waiting.append(row)
            if row.empty is None:
                read_rows.append(row.row)
                yield row.value
            else:
                empty += 1
                if empty <= _PLACES_SHOWN:
                    empty_places.append(row.place)

    with renumbered(read_rows):
        for result in use(values()):
            while waiting[0].empty is not None:
                yield waiting.popleft(), None
            yield waiting.popleft(), result
    if waiting and not read_rows and not some_before:
        raise DataError(f"{waiting[0].place}: {waiting[0].empty}, and so is every other row. Fill them in.")
    for row in waiting:
        yield row, None
    report_empty(empty, empty_places, row_count)


@contextmanager
def renumbered(read_rows: Sequence[int]) -> Iterator[None]:
    """Errors of a verb with the number of the row in the input, instead of that among the rows with a text."""
    try:
        yield
    except LlmkitError as error:
        message = _renumbered(str(error), read_rows)
        if message is None:
            raise
        raise type(error)(message) from error


def _renumbered(message: str, read_rows: Sequence[int]) -> str | None:
    """The message with the number of the row in the input instead of that among the rows with a text, if it has one."""
    match = _ROW.match(message)
    if match is None:
        return None
    row = read_rows[int(match[1].replace(",", "")) - 1]
    return f"row {row:,}: {message[match.end() :]}"


def report_empty(empty: int, places: Sequence[str], row_count: int) -> None:
    if not empty:
        return
    more = f" and {empty - _PLACES_SHOWN:,} more" if empty > _PLACES_SHOWN else ""
    counts = f"{empty:,} of {row_count:,} rows"
    logger.warning("%s without a text, and so without a result: %s%s", counts, ", ".join(places[:_PLACES_SHOWN]), more)

"""Leaves out messages about rows that have been logged already, while the rows are encoded or scored again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_left_out: ContextVar[bool] = ContextVar("messages are left out", default=False)


@contextmanager
def no_repeated_messages() -> Iterator[None]:
    """Leave out what this thread logs under `llmkit`; other threads log as ever."""
    token = _left_out.set(True)
    try:
        yield
    finally:
        _left_out.reset(token)


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _left_out.get()


logging.getLogger("llmkit").addFilter(_Filter())

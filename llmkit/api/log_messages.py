"""The messages that are logged while a training is prepared: what was truncated, left out or removed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_MOST, _MOST_CHARACTERS = 200, 1_000


@contextmanager
def collected_messages() -> Iterator[list[dict[str, str]]]:
    """Yield a list that gets the `level` and the `text` of each message which is logged in the block."""
    logger, handler = logging.getLogger("llmkit"), _Collector()
    logger.addHandler(handler)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.messages) < _MOST:
            level = "warning" if record.levelno >= logging.WARNING else "info"
            self.messages.append({"level": level, "text": record.getMessage()[:_MOST_CHARACTERS]})

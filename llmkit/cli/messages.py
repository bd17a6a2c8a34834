"""Errors, warnings and notes on standard error, one line each.

A standard error that cannot be written (a full disk, a closed terminal, a pipe without a reader) ends no work: a training
that a signal stops must still save.
"""

from __future__ import annotations

import contextlib
import logging
import sys

_MAX_CHARACTERS = 2000
"""Of a line; a value in it may have a million."""


def print_error(kind: str, message: str) -> None:
    """Print `error[kind]: message`, one problem per line, with control characters escaped."""
    for line in message.rstrip("\n").split("\n"):
        print_line(f"error[{kind}]: {_escaped(line)}")


def print_note(message: str) -> None:
    """Print one line, in the form of an info message of the log."""
    print_line(_escaped(message))


def print_line(line: str) -> None:
    """Print a line as it is, if standard error can be written."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def send_log_to_stderr() -> None:
    """Print the package's log to standard error: info messages as they are, warnings with a prefix."""
    logger = logging.getLogger("llmkit")
    logger.handlers = [_Lines()]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        mark = "warning: " if record.levelno >= logging.WARNING else ""
        print_line(_escaped(f"{mark}{record.getMessage()}"))


def _escaped(text: str) -> str:
    if len(text) > _MAX_CHARACTERS:
        omitted = len(text) - _MAX_CHARACTERS
        text = f"{text[: _MAX_CHARACTERS // 2]} [{omitted:,} characters left out] {text[-_MAX_CHARACTERS // 2 :]}"
    return "".join(char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in text)

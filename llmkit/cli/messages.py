"""What goes to standard error: errors, warnings and notes, one line each."""

from __future__ import annotations

import logging
import sys


def print_error(kind: str, message: str) -> None:
    """`error[kind]: message`, one problem a line; what a terminal would act on is escaped."""
    for line in message.splitlines() or [""]:
        print(f"error[{kind}]: {_escaped(line)}", file=sys.stderr)


def print_note(message: str) -> None:
    """One line to the person at the terminal, as a note of the log."""
    print(_escaped(message), file=sys.stderr, flush=True)


def send_log_to_stderr() -> None:
    """Show the package's log: notes as they are, warnings marked."""
    logger = logging.getLogger("llmkit")
    logger.handlers = [_Lines()]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        mark = "warning: " if record.levelno >= logging.WARNING else ""
        print(_escaped(f"{mark}{record.getMessage()}"), file=sys.stderr)


def _escaped(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else repr(char)[1:-1] for char in text)

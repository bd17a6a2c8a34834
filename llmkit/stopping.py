"""Signals that stop the program: work in progress is cleaned up, and the exit code is 128 plus the signal's number."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

_GRACE_SECONDS = 5.0
"""The program ends after this time at the latest: Python ignores exceptions in some callbacks, for example of imports."""


def stop_at_signals(numbers: Iterable[int] = (signal.SIGTERM, signal.SIGHUP)) -> None:
    """From now on, the first of these signals unwinds the main thread with SystemExit (SIGINT: KeyboardInterrupt), and
    a second one ends the process at once. Signals that are ignored, such as SIGHUP under nohup, still are."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        timer = threading.Timer(_GRACE_SECONDS, os._exit, (128 + number,))
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for number in not_ignored(numbers):
        signal.signal(number, stop)


@contextmanager
def stopping_at_signals(numbers: Iterable[int]) -> Iterator[None]:
    """As `stop_at_signals`, in the block only. Outside the main thread it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    stop_at_signals(numbers)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def not_ignored(numbers: Iterable[int]) -> list[int]:
    """Those signals that this process does not ignore."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]

"""SIGINT, SIGTERM and SIGHUP as a flag that the training loop checks at each step."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from llmkit.stopping import not_ignored

logger = logging.getLogger("llmkit")


@contextmanager
def stop_signals() -> Iterator[Callable[[], int | None]]:
    """Yield a function that returns the first signal received, or None. A second signal ends the process at once.

    A signal that no step has seen is sent again at the end of the block. Ignored signals, such as SIGHUP under nohup, still
    are. Outside the main thread, where Python delivers no signals, it always returns None.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received:
            os._exit(128 + number)  # saved checkpoints are complete; nothing else matters now
        received.append(number)
        logger.warning("signal %s: finishing this step, then saving; send it again to stop at once", number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    numbers = not_ignored((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:  # after the last step was saved: it stops what comes next
        signal.raise_signal(received[0])

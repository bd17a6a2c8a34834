"""Sends signals to this process at a chosen audit event, such as the import of a module or the creation of a folder.

    python tests/signalled_at.py SIGTERM 1 import torch 1 0 llmkit finetune recipe.yaml

The arguments: the name of the signal, how often it is sent (a second time at the next event), the name of the event
(https://docs.python.org/3/library/audit_events.html), a pattern to find in its first argument, which of the matching
events counts, and for how many milliseconds to wait after it.
"""

from __future__ import annotations

import os
import re
import runpy
import signal
import sys
import threading
from typing import Any


class Sender:
    """Sends the signal; an audit hook."""

    def __init__(self, number: int, *, times: int, event: str, pattern: str, match: int, milliseconds: float) -> None:
        self.number = number
        self.times = times
        self.event = event
        self.pattern = re.compile(pattern)
        self.matches_left = match
        self.milliseconds = milliseconds

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.matches_left:
            place = arguments[0] if event == self.event else None
            if isinstance(place, str | bytes | os.PathLike) and self.pattern.search(os.fsdecode(place)):
                self.matches_left -= 1
        if not self.matches_left and self.times:
            self.times -= 1
            if self.milliseconds:
                threading.Timer(self.milliseconds / 1000, os.kill, (os.getpid(), self.number)).start()
            else:
                os.kill(os.getpid(), self.number)


def main() -> None:
    name, times, event, pattern, match, milliseconds, module, *arguments = sys.argv[1:]
    sys.addaudithook(
        Sender(
            signal.Signals[name],
            times=int(times),
            event=event,
            pattern=pattern,
            match=int(match),
            milliseconds=float(milliseconds),
        )
    )
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

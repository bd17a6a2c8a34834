"""Stops this process with SIGKILL before a chosen call that changes files.

    python tests/killed_at.py NUMBER FOLDER llmkit finetune recipe.yaml
    python tests/killed_at.py 0 FOLDER ...        never; prints the number of calls to FOLDER/../calls

Counted are opening a file to write, renaming, deleting, making folders and fsync, below FOLDER.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Counter:
    """Counts the calls below a folder; sends SIGKILL to this process before number `kill_at`, counted from 1."""

    def __init__(self, folder: Path, *, kill_at: int) -> None:
        self.folder = os.path.realpath(folder)
        self.kill_at = kill_at
        self.calls = 0
        self._fsync = os.fsync

    def install(self) -> None:
        """For the rest of the process: an audit hook cannot be removed."""
        sys.addaudithook(self._audit)
        os.fsync = self._sync

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        if f"{Path(os.fsdecode(arguments[0])).absolute()}".startswith(self.folder):
            self._count()

    def _sync(self, descriptor: Any) -> None:
        self._count()
        self._fsync(descriptor)

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    number, folder, module, *arguments = sys.argv[1:]
    counter = Counter(Path(folder), kill_at=int(number))
    counter.install()
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        Path(folder).with_name("calls").write_text(f"{counter.calls}")


if __name__ == "__main__":
    main()

"""Many processes that take the same run at once; prints what each of them got, one JSON object per line.

    python tests/many_starts.py lock FOLDER COUNT       lock an existing run
    python tests/many_starts.py name FOLDER COUNT       create a run under this name

A program of its own, since a process that has imported torch takes long to fork.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from llmkit.errors import LlmkitError
from llmkit.runs.creation import new_run
from llmkit.runs.lock import locked

Pipe = tuple[int, int]


def taking(kind: str, folder: Path) -> AbstractContextManager[Any]:
    return locked(folder) if kind == "lock" else new_run(folder, recipe_name="news", describe=lambda run: None)


def take(kind: str, folder: Path, start: Pipe, end: Pipe, reports: Pipe) -> None:
    """Wait for the start, try to take the run, report, and keep it until all have reported."""

    def report(**facts: object) -> None:
        os.write(reports[1], (json.dumps({"pid": os.getpid(), **facts}) + "\n").encode())

    os.close(start[1])
    os.close(end[1])
    os.read(start[0], 1)
    try:
        with taking(kind, folder):
            report(code=0)
            os.read(end[0], 1)
    except LlmkitError as error:
        report(code=error.exit_code, message=str(error))
    except BaseException as error:
        report(code=1, message=repr(error))


def main() -> None:
    kind, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    start, end, reports = os.pipe(), os.pipe(), os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            take(kind, folder, start, end, reports)
            os._exit(0)
        children.append(child)
    os.close(start[1])
    with os.fdopen(reports[0]) as lines:
        for _ in range(count):
            sys.stdout.write(lines.readline())
    os.close(end[1])
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()

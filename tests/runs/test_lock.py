"""Of many processes that start the same run at once, one has it, and the others say which."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from empty_runs import create_run
from facts import facts, says

from llmkit.errors import LlmkitError, MachineError
from llmkit.runs.creation import new_run
from llmkit.runs.lock import locked

COUNT = 100


def at_once(attempt: Callable[[Callable[[], None]], None], *, count: int = COUNT) -> list[dict[str, object]]:
    """What each of the processes reports, which begin when all of them are there.

    Args:
        attempt: calls its argument when it has the run; that returns when all processes have reported.
    """
    start, end, reports = os.pipe(), os.pipe(), os.pipe()
    children = [child for _ in range(count) if (child := _started(attempt, start, end, reports))]
    for descriptor in (start[0], end[0], reports[1], start[1]):
        os.close(descriptor)
    try:
        with os.fdopen(reports[0]) as lines:
            reported = [json.loads(lines.readline()) for _ in range(count)]
    finally:
        os.close(end[1])
        for child in children:
            os.waitpid(child, 0)
    return reported


def _started(
    attempt: Callable[[Callable[[], None]], None],
    start: tuple[int, int],
    end: tuple[int, int],
    reports: tuple[int, int],
) -> int:
    child = os.fork()
    if child:
        return child

    def report(**facts: object) -> None:
        os.write(reports[1], (json.dumps({"pid": os.getpid(), **facts}) + "\n").encode())

    def has_it() -> None:
        report(code=0)
        os.read(end[0], 1)

    for descriptor in (start[1], end[1], reports[0]):
        os.close(descriptor)
    try:
        os.read(start[0], 1)
        attempt(has_it)
    except LlmkitError as error:
        report(code=error.exit_code, message=str(error))
    except BaseException as error:
        report(code=1, message=repr(error))
    finally:
        os._exit(0)


def test_of_a_hundred_processes_one_takes_the_lock_and_the_others_name_it(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text('{"pid": 4194999, "host": "' + socket.gethostname() + '", "since": "yesterday"}')

    def attempt(has_it: Callable[[], None]) -> None:
        with locked(tmp_path):
            has_it()

    reported = at_once(attempt)
    (winner,) = [report for report in reported if report["code"] == 0]
    refused = [report for report in reported if report["code"] == 5]
    assert len(refused) == COUNT - 1
    for report in refused:
        says(f"{report['message']}", tmp_path, f"pid {winner['pid']}", socket.gethostname(), "since")


def test_of_many_processes_that_start_a_new_run_one_gets_the_name(tmp_path: Path) -> None:
    def attempt(has_it: Callable[[], None]) -> None:
        with new_run(tmp_path / "run", recipe_name="news", describe=lambda run: None):
            has_it()

    reported = at_once(attempt, count=30)
    assert sorted(report["code"] for report in reported) == [0] + [4] * 29
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    ready, is_ready = os.pipe()
    child = os.fork()
    if child == 0:
        with locked(run.folder):
            os.write(is_ready, b"x")
            signal.pause()
    os.read(ready, 1)
    with pytest.raises(MachineError), locked(run.folder):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with locked(run.folder):
        assert json.loads((run.folder / "lock").read_text())["pid"] == os.getpid()
    for descriptor in (ready, is_ready):
        os.close(descriptor)


def test_a_process_that_has_ended_is_not_named_as_the_owner(tmp_path: Path) -> None:
    """A killed process leaves its name in the file; the next one writes its own a moment after it got the lock."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": child, "host": socket.gethostname(), "since": "2026-01-01 00:00:00"}))
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(MachineError, match=facts(tmp_path, "another process")), locked(tmp_path):
            pass

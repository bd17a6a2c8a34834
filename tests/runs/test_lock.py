"""Of many processes that start the same run at once, one has it, and the others say which."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from facts import facts, says

from llmkit.errors import MachineError
from llmkit.runs.lock import locked

COUNT = 100
_MANY = Path(__file__).parents[1] / "many_starts.py"


def at_once(kind: str, folder: Path) -> list[dict[str, object]]:
    """What each of the processes got."""
    command = [sys.executable, str(_MANY), kind, str(folder), f"{COUNT}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=100)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_of_a_hundred_processes_one_takes_the_lock_and_the_others_name_it(tmp_path: Path) -> None:
    reported = at_once("lock", tmp_path)
    (winner,) = [report for report in reported if report["code"] == 0]
    refused = [report for report in reported if report["code"] == 5]
    assert len(refused) == COUNT - 1
    for report in refused:
        says(f"{report['message']}", tmp_path, f"pid {winner['pid']}", socket.gethostname(), "since")


def test_of_a_hundred_processes_that_create_a_run_one_gets_the_name(tmp_path: Path) -> None:
    reported = at_once("name", tmp_path / "run")
    assert sorted(str(report["code"]) for report in reported) == ["0"] + ["4"] * (COUNT - 1)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


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

"""Several programs that start the same run at once: one trains, and the others say why they do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import CLASSIFY, command, environment, rows, write_jsonl

pytestmark = pytest.mark.slow

COUNT = 3
LONG = ("--set", "train.steps=5000", "--set", "train.checks=false", "--set", "evaluation.every=5000 steps")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "rows.jsonl", rows())
    (tmp_path / "classify.yaml").write_text(CLASSIFY)
    return tmp_path


def started(place: Path, *arguments: str, count: int = COUNT) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            command("finetune", *arguments), cwd=place, env=environment(), stderr=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]


def refusals(processes: list[subprocess.Popen[str]], *, code: int) -> tuple[subprocess.Popen[str], list[str]]:
    """The process that trains, and what the others say, all of which end with this exit code."""
    deadline = time.monotonic() + 200
    while len(running := [process for process in processes if process.poll() is None]) > 1:
        assert time.monotonic() < deadline, "several still run"
        time.sleep(0.1)
    (winner,) = running
    others = [process for process in processes if process is not winner]
    assert [process.returncode for process in others] == [code] * (COUNT - 1)
    return winner, [process.communicate()[1] for process in others]


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_one_of_several_programs_gets_a_run_and_after_a_kill_the_next_one_at_once(place: Path) -> None:
    winner, messages = refusals(started(place, "classify.yaml", "--run", "run", *LONG), code=4)
    for message in messages:
        says(message, "error[run]", "run", "another")
    winner_pid = json.loads((place / "run/lock").read_text())["pid"]
    assert winner_pid == winner.pid
    kill(winner)

    winner, messages = refusals(started(place, "--resume", "run"), code=5)
    for message in messages:
        says(message, "error[environment]", "run", f"pid {winner.pid}", os.uname().nodename)
    kill(winner)

    (last,) = started(place, "--resume", "run", count=1)
    deadline = time.monotonic() + 200
    while json.loads((place / "run/lock").read_text())["pid"] != last.pid:
        assert last.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    kill(last)

"""One of two processes is killed: the other ends as well, and the resumed run is the uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from damages import STEPS, final_state
from facts import says
from tiny_recipes import CLASSIFY, command, environment, rows, write_jsonl

pytestmark = pytest.mark.slow

SETTINGS = {"steps": STEPS, "batch_size": 8, "save_every": 1, "keep_checkpoints": 6, "checks": "false"}


def started(place: Path, *arguments: str) -> subprocess.Popen[str]:
    program = command("finetune", *arguments, "--processes", "2")
    return subprocess.Popen(program, cwd=place, env=environment(), stderr=subprocess.PIPE, text=True)


def kill_second(launcher: subprocess.Popen[str], run: Path) -> str:
    """Kill the second process after the first checkpoint; returns what the first prints until it ends."""
    while not list(run.glob("checkpoints/step-*")):
        assert launcher.poll() is None
        time.sleep(0.01)
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    return launcher.communicate(timeout=60)[1]


def test_a_killed_process_ends_the_others_and_the_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", rows())
    (tmp_path / "classify.yaml").write_text(CLASSIFY)
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"train.{key}={value}")]
    whole = started(tmp_path, "classify.yaml", "--run", "whole", *settings)
    assert whole.communicate()[1]
    assert whole.returncode == 0
    launcher = started(tmp_path, "classify.yaml", "--run", "killed", *settings)
    errors = kill_second(launcher, tmp_path / "killed")
    assert launcher.returncode == 5, errors
    says(errors, "error[environment]", "process 2 of 2", "SIGKILL", "--resume")
    resumed = started(tmp_path, "--resume", "killed")
    errors = resumed.communicate()[1]
    assert resumed.returncode == 0, errors
    assert final_state(tmp_path / "killed") == final_state(tmp_path / "whole")

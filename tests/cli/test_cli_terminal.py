"""What a person at a terminal sees: a live line that fits, text as it is written, control characters spelt out."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import IO

import pytest
from tiny_recipes import command, environment, llmkit

_WIDTH = 80


def on_terminal(*arguments: str, cwd: Path, output: IO[str] | None = None) -> tuple[int, list[bytes]]:
    """Exit code, and what the program writes to a terminal of 80 columns, piece by piece as it comes.

    Args:
        output: takes standard output instead of the terminal.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, _WIDTH)) if hasattr(termios, "tcsetwinsize") else _set_size(theirs)
    env = {
        key: value for key, value in environment({"TERM": "xterm"}).items() if key not in {"COLUMNS", "NO_COLOR", "CI"}
    }
    process = subprocess.Popen(
        command(*arguments), cwd=cwd, env=env, stdin=theirs, stdout=output or theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    pieces: list[bytes] = []
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other side was closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    return process.wait(timeout=30), pieces


def _set_size(descriptor: int) -> None:
    import fcntl

    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, _WIDTH, 0, 0))


@pytest.mark.slow
def test_training_shows_a_live_line_that_fits_and_leaves_the_results(work: Path) -> None:
    code, pieces = on_terminal(
        "finetune", "classify.yaml", "--set", "train.steps=80", "--set", "evaluation.every=40 steps", cwd=work
    )
    screen = b"".join(pieces).decode()
    assert code == 0, screen
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    live = [line for line in re.split(r"[\r\n]+", plain) if re.match(r"step \d+/80 ", line)]
    assert len(live) > 3
    assert all("loss " in line and "ETA " in line for line in live), live
    assert all(len(line) <= _WIDTH for line in live)
    assert "step 40 validation  loss " in plain
    assert "runs/classify-001  accuracy " in plain


@pytest.mark.slow
def test_a_prompt_is_continued_piece_by_piece_and_control_characters_are_spelt_out(here: Path) -> None:
    prompt, options = "goal \x1b[31mteam", ("--max-new-tokens", "12", "--repetition-penalty", "2")
    code, pieces = on_terminal("generate", "--prompt", prompt, *options, cwd=here)
    assert code == 0
    written = b"".join(pieces).decode(errors="replace")
    assert "\x1b[31m" not in written
    assert "\r\ngoal \\x1b[31mteam" in written
    assert len(pieces) > 3  # the note, the prompt, and the text in parts
    assert llmkit("generate", "--prompt", prompt, *options).out.startswith(prompt)  # a pipe gets it as it is


def test_help_on_a_terminal_fits_into_it(here: Path) -> None:
    code, pieces = on_terminal("generate", "--help", cwd=here)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(pieces).decode())
    assert code == 0
    assert max(map(len, plain.splitlines())) <= _WIDTH


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "stages"),
    [
        (["classify", "--model", "runs/classify-001", "rows.jsonl"], ["classify"]),
        (["evaluate", "--model", "runs/classify-001", "--data", "rows.jsonl", "--json"], ["losses", "predictions"]),
    ],
)
def test_a_bar_beside_results_that_go_elsewhere_takes_none_of_them(
    own_runs: Path, tmp_path: Path, arguments: list[str], stages: list[str]
) -> None:
    piped = subprocess.run(
        command(*arguments), cwd=own_runs, env=environment({}), capture_output=True, text=True, check=True
    )
    with (tmp_path / "results").open("w") as output:
        code, pieces = on_terminal(*arguments, cwd=own_runs, output=output)
    assert code == 0
    assert (tmp_path / "results").read_text() == piped.stdout
    screen = b"".join(pieces).decode()
    assert all(stage in screen for stage in stages)
    assert not any(stage in line for stage in stages for line in piped.stderr.splitlines())

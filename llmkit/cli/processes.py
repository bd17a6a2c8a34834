"""Several processes on this machine, one a device. Each runs the same command; accelerate finds its place in them.

torchrun would do the same, but it ends every failure with its own traceback and exit code 1.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from llmkit.cli.messages import print_error

_POLL_SECONDS = 0.1
_SECONDS_TO_FOLLOW = 10.0
"""What the others get once one has failed: they mostly meet the same error, and the first one should tell it."""


def start_processes(count: int, arguments: Sequence[str]) -> int:
    """Run `llmkit ARGUMENTS` in `count` processes, and return the exit code of the first that failed, or 0.

    The first process has the screen. What the others say is shown only where they alone failed.
    """
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        logs = [folder / f"{rank}.txt" for rank in range(count)]
        port = _free_port()
        children = [_start(rank, count, arguments, port=port, log=logs[rank]) for rank in range(count)]
        received = held.enter_context(_signals_passed_to(children))
        failed = _wait(children)
        if failed is None:
            return 0
        rank, code = failed
        if rank > 0:
            sys.stderr.write(logs[rank].read_text(encoding="utf-8", errors="backslashreplace"))
        if code >= 0:
            return code
        if received:
            return 128 + received[0]
        name = signal.Signals(-code).name
        hint = " The machine may be out of memory." if -code == signal.SIGKILL else ""
        print_error("environment", f"process {rank + 1} of {count} was ended by {name}.{hint} Go on with --resume.")
        return 5


def _start(rank: int, count: int, arguments: Sequence[str], *, port: int, log: Path) -> subprocess.Popen[bytes]:
    """One process, in a group of its own: a Ctrl-C must reach it once, through us, since twice means at once."""
    environment = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)),
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, "-m", "llmkit", *arguments]
    if rank == 0:
        return subprocess.Popen(command, env=environment, start_new_session=True)
    with log.open("wb") as quiet:
        return subprocess.Popen(command, env=environment, start_new_session=True, stdout=quiet, stderr=quiet)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _signals_passed_to(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Give the list of signals that came in so far; each of them was passed on."""
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for child in children:
            child.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> tuple[int, int] | None:
    """Wait for all; once one has failed, end the rest after a while.

    Returns:
        Rank and exit code to report, a negative code being a signal's: of the lowest rank that failed of itself. A 1
        comes last: where one process dies, the others break off in the middle of an exchange with it.
    """
    while all(child.poll() in (None, 0) for child in children):
        if all(child.returncode == 0 for child in children):
            return None
        time.sleep(_POLL_SECONDS)
    deadline = time.monotonic() + _SECONDS_TO_FOLLOW
    while time.monotonic() < deadline and any(child.poll() is None for child in children):
        time.sleep(_POLL_SECONDS)
    failed = [(rank, child.returncode) for rank, child in enumerate(children) if child.returncode]
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()
    return min(failed, key=lambda rank_and_code: (rank_and_code[1] == 1, rank_and_code[0]))

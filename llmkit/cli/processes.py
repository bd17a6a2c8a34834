"""Several processes on this machine, one per device. Each runs the same command; accelerate reads its rank.

torchrun does the same, but ends every failure with its own traceback and exit code 1.
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
from llmkit.errors import UsageError
from llmkit.stopping import not_ignored

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_SECONDS = 0.1
_SECONDS_TO_FOLLOW = 10.0
"""Grace period for the other processes after one has failed: they usually hit the same error, to be reported once."""


def process_count(processes: str) -> int:
    """The number that `--processes` gives; `auto` is one for each device."""
    if processes == "auto":
        from llmkit.api import count_devices

        return count_devices()
    if processes.isdecimal() and int(processes) >= 1:
        return int(processes)
    raise UsageError(f"--processes {processes}: must be a whole number of at least 1, or auto.")


def start_processes(count: int, arguments: Sequence[str]) -> int:
    """Run `llmkit ARGUMENTS` in `count` processes, and return the exit code of the first that failed, or 0.

    The first process writes to the terminal. The output of another process is shown only if that process is the one
    whose failure is reported.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs = [folder / f"{rank}.txt" for rank in range(count)]
        port = _free_port()
        children: list[subprocess.Popen[bytes]] = []
        received = stack.enter_context(_forward_signals(children))
        for rank in range(count):
            children.append(_start(rank, count, arguments, port=port, log=logs[rank]))
        if received:  # some of them may not have got it, and none has anything to save yet
            _kill(children)
            return 128 + received[0]
        failed = _wait(children)
        if failed is None:
            return 0
        rank, code = failed
        if rank > 0:
            sys.stderr.write(logs[rank].read_text(encoding="utf-8", errors="backslashreplace"))
        if code >= 0:
            return code
        if received or -code in _STOPPING:
            return 128 + (received[0] if received else -code)
        name = signal.Signals(-code).name
        hint = " The machine may be out of memory." if -code == signal.SIGKILL else ""
        print_error(
            "environment", f"process {rank + 1} of {count} was killed by {name}.{hint} Continue the run with --resume."
        )
        return 5


def _start(rank: int, count: int, arguments: Sequence[str], *, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start a process in its own group, so that it gets each Ctrl-C once, through us: the second stops it at once."""
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
    with log.open("wb") as file:
        return subprocess.Popen(command, env=environment, start_new_session=True, stdout=file, stderr=file)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _forward_signals(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Forward signals to the children; yields the list of signals received so far."""
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for child in children:
            child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in not_ignored(_STOPPING)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _kill(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> tuple[int, int] | None:
    """Wait for all processes; once one has failed, kill the rest after a grace period.

    Returns:
        None, or the rank and exit code to report (negative for a signal): those of the lowest rank that failed. Exit
        code 1 has the lowest priority: when one process dies, the others fail in the middle of communicating with it.
    """
    while all(child.poll() in (None, 0) for child in children):
        if all(child.returncode == 0 for child in children):
            return None
        time.sleep(_POLL_SECONDS)
    deadline = time.monotonic() + _SECONDS_TO_FOLLOW
    while time.monotonic() < deadline and any(child.poll() is None for child in children):
        time.sleep(_POLL_SECONDS)
    failed = [(rank, child.returncode) for rank, child in enumerate(children) if child.returncode]
    _kill(children)
    return min(failed, key=lambda rank_and_code: (rank_and_code[1] == 1, rank_and_code[0]))

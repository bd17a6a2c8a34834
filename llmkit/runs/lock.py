"""Lock of a run folder, for one process at a time. The kernel releases it when the process ends for any reason."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmkit.errors import MachineError

_OWNER_ATTEMPTS, _SECONDS_BETWEEN = 25, 0.02


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock `folder/lock`.

    Raises:
        MachineError: another process has locked it, it cannot be written, or the file system does not support locks.
    """
    path = folder / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise MachineError(f"{path}: cannot be written ({error.strerror}).") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MachineError(f"{folder} is in use by {_owner(path)}. Wait for it, or choose another run.") from error
        except OSError as error:
            raise MachineError(
                f"{folder}: its file system does not support locks ({error.strerror}); use another folder."
            ) from error
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        with suppress(OSError):  # a full disk: the lock itself needs no space, only the message of another process
            os.truncate(descriptor, 0)
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": started}
            os.write(descriptor, json.dumps(owner).encode())
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a process has locked `folder/lock`; false where there is no such file."""
    path = folder / "lock"
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _owner(path: Path) -> str:
    """The process that has the lock, for the message; the kernel manages the lock itself.

    A process writes its name after it got the lock. Until then the file is empty, or names one that has ended.
    """
    for _ in range(_OWNER_ATTEMPTS):
        with suppress(OSError, ValueError, KeyError, TypeError):
            owner = json.loads(path.read_text())
            if owner["host"] != socket.gethostname() or _is_alive(owner["pid"]):
                return f"pid {owner['pid']} on {owner['host']} since {owner['since']}"
        time.sleep(_SECONDS_BETWEEN)
    return "another process"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True

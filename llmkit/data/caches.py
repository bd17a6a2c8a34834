"""The cache folder for files that can be rebuilt, and atomic writes to it. Knows nothing about their contents."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.atomic import replace_file
from llmkit.errors import MachineError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def cache_folder() -> Path:
    """The cache folder, created if needed: $LLMKIT_CACHE, $XDG_CACHE_HOME/llmkit or ~/.cache/llmkit.

    Raises:
        MachineError: it cannot be created or written to; the message names the variable to set.
    """
    folder, variable = chosen_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, variable, error.strerror) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(folder, variable, "permission denied")
    return folder


def publish_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically: a reader sees the old file or the new one. Parent folders are created.

    Raises:
        MachineError: the disk is full, or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{path.parent}: cannot be created ({error.strerror}). Check the permissions.") from error
    replace_file(path, data)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process creates `path`. The kernel releases the lock when its process ends.

    Raises:
        MachineError: the folder cannot be written to, or its file system does not support locks.
    """
    from filelock import FileLock

    # A soft lock, which filelock takes on a file system without locks, would outlive a process that was killed.
    lock = FileLock(path.with_suffix(".lock"), fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise MachineError(
                f"{path.parent}: its file system has no locks; set LLMKIT_CACHE to another folder."
            ) from error
        raise MachineError(f"{path.parent}: cannot be written ({error.strerror}). Check the permissions.") from error
    try:
        yield
    finally:
        lock.release()


def chosen_folder() -> tuple[Path, str]:
    """The cache folder, which need not exist, and the environment variable that determines it."""
    if folder := os.environ.get("LLMKIT_CACHE"):
        return Path(folder).absolute(), "LLMKIT_CACHE"
    # The XDG specification tells programs to ignore a relative path there.
    if (folder := os.environ.get("XDG_CACHE_HOME")) and Path(folder).is_absolute():
        return Path(folder) / "llmkit", "XDG_CACHE_HOME"
    try:
        return Path.home() / ".cache" / "llmkit", "HOME"
    except RuntimeError as error:
        raise MachineError("there is no home folder for caches. Set LLMKIT_CACHE to a writable folder.") from error


def _unwritable(folder: Path, variable: str, reason: str | None) -> MachineError:
    advice = "Set LLMKIT_CACHE to a writable folder."
    return MachineError(f"{folder}: the cache folder (from ${variable}) cannot be written to ({reason}). {advice}")

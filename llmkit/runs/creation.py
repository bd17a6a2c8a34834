"""The start of a run: its folder is written under a hidden name, locked, and renamed when it is complete.

A kill at any moment leaves either no run or one that can be resumed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmkit.atomic import TEMPORARY, sync_folder
from llmkit.errors import MachineError, RunError
from llmkit.runs.folder import Run, write_json
from llmkit.runs.lock import is_locked, locked
from llmkit.runs.saved_json import FORMAT

_OLD_SECONDS = 3600
"""A hidden folder without a lock may be one that another process is just creating, but not for so long."""


def refuse_used(name: str | Path) -> None:
    """Raise RunError if `name` cannot be the folder of a new run."""
    folder = Path(name)
    if "\0" in str(name):
        raise RunError(f"{str(name)!r}: a folder's name cannot have a NUL character.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        hint = f"continue it with --resume {folder}, or " if (folder / "run.json").exists() else ""
        raise RunError(f"{folder} already exists; {hint}choose another name.")


@contextmanager
def new_run(
    name: str | Path | None, *, recipe_name: str, describe: Callable[[Run], None], root: Path = Path("runs")
) -> Iterator[Run]:
    """A new run in the folder `name`, or in the next free `root/recipe_name-001`; locked for this process in the block.

    Args:
        describe: writes what the run depends on. The run gets its name after that.
    Raises:
        RunError: `name` exists and is not empty.
        MachineError: it cannot be created.
    """
    if name is not None:
        refuse_used(name)
    # The folder of a link: the rename must stay in one file system, and must not replace the link.
    parent = root if name is None else Path(os.path.realpath(name)).parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        draft = Run(parent / f"{TEMPORARY}run-{uuid.uuid4().hex}")
        draft.checkpoints.mkdir(parents=True)
    except OSError as error:
        raise MachineError(f"{name or root}: cannot be created ({error.strerror}).") from error
    try:
        with locked(draft.folder):
            write_json(draft.folder / "run.json", {"format": FORMAT, "id": uuid.uuid4().hex, "status": "started"})
            describe(draft)
            run = Run(
                _named(draft.folder, Path(name)) if name is not None else _numbered(draft.folder, root, recipe_name)
            )
            yield run
    finally:
        shutil.rmtree(draft.folder, ignore_errors=True)  # where it did not get its name


def _named(draft: Path, folder: Path) -> Path:
    if not _renamed(draft, Path(os.path.realpath(folder))):
        raise RunError(f"{folder} was just created by another process; choose another name.")
    return folder


def _numbered(draft: Path, root: Path, recipe_name: str) -> Path:
    pattern = re.compile(rf"{re.escape(recipe_name)}-(\d+)")
    number = max((int(match[1]) for path in root.iterdir() if (match := pattern.fullmatch(path.name))), default=0)
    while True:
        number += 1
        folder = root / f"{recipe_name}-{number:03d}"
        if _renamed(draft, folder):
            return folder


def _renamed(draft: Path, folder: Path) -> bool:
    """Whether the folder got its name; false if there is something under that name. An empty folder is replaced."""
    try:
        draft.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise MachineError(f"{folder}: cannot be created ({error.strerror}).") from error
    return True


def _remove_abandoned(parent: Path) -> None:
    """Delete the hidden folders of processes that were killed before their run had a name."""
    for path in parent.glob(f"{TEMPORARY}run-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _OLD_SECONDS and not is_locked(path):
                shutil.rmtree(path, ignore_errors=True)

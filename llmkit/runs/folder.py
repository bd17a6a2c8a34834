"""The run folder: one training run, from its recipe to its model. Does not import torch.

runs/NAME-001/
  run.json         the manifest: status, versions, git commit, timings, best scores; replaced atomically
  recipe.yaml      the complete recipe of the run
  env.json         the machine; data.json: files, rows, hashes, labels
  metrics.jsonl    one object per line, each with its step
  checkpoints/step-00000500/    saved atomically, see llmkit/atomic.py
  model/           the finished model, a Hugging Face folder
  evaluation/      results of `llmkit evaluate`
  loss.png         a plot of the losses, made when the training ends
  lock             locked while a process trains here
"""

from __future__ import annotations

import ctypes
import json
import logging
import math
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.atomic import TEMPORARY, publish_folder, remove_folder, replace_file, sweep
from llmkit.errors import MachineError, RunError, nearest

FORMAT = 1
logger = logging.getLogger("llmkit")
_CURRENT_FOLDER, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux's fcntl.h."""


@dataclass(frozen=True)
class Run:
    folder: Path

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.yaml"

    def manifest(self) -> dict[str, Any]:
        """run.json.

        Raises:
            RunError: unreadable, or written by a newer llmkit.
        """
        return read_json(self.folder / "run.json")

    def update(self, **changes: Any) -> None:
        """Change keys of run.json atomically."""
        write_json(self.folder / "run.json", {**self.manifest(), **changes})

    def log(self, step: int, values: Mapping[str, float | int]) -> None:
        """Add a line to metrics.jsonl; see `finite`."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite({"step": step, **values})) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, without a last line that a kill left incomplete.

        Raises:
            RunError: another line is damaged.
        """
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        try:
            return [json.loads(line) for line in lines[:-1]]
        except ValueError as error:
            raise RunError(f"{path} is damaged ({error}).") from error

    def publish_model(self, files: Mapping[str, bytes], *, step: int) -> None:
        """Make `files` the finished model; an older model stays complete until then.

        Raises:
            MachineError: the files cannot be written.
        """
        sweep(self.folder)
        about = {"format": 1, "step": step}
        if not self.model.exists():
            publish_folder(self.model, files, about=about)
            return
        new = self.folder / f"{TEMPORARY}model"
        publish_folder(new, files, about=about)
        try:
            _exchange(new, self.model)
            remove_folder(new)
        except OSError as error:
            raise MachineError(f"{self.model}: cannot be replaced ({error.strerror}).") from error

    def rewind(self, step: int) -> None:
        """Remove metrics after the step that training resumes from; they will be logged again."""
        lines = [line for line in self.metrics() if line["step"] <= step]
        replace_file(self.folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())


def refuse_used(name: str | Path) -> None:
    """Raise RunError if `name` cannot be the folder of a new run."""
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        hint = f"continue it with --resume {folder}, or " if (folder / "run.json").exists() else ""
        raise RunError(f"{folder} already exists; {hint}choose another name.")


def create_run(name: str | Path | None, *, recipe_name: str, root: Path = Path("runs")) -> Run:
    """Create the folder of a new run: `name`, or the next free `root/recipe_name-001`.

    Raises:
        RunError: `name` exists and is not empty.
        MachineError: it cannot be created.
    """
    if name is not None:
        refuse_used(name)
        folder = Path(name)
        _make(folder)
        return _initialized(Run(folder))
    _make(root)
    numbers = [
        int(match[1])
        for path in root.iterdir()
        if (match := re.fullmatch(rf"{re.escape(recipe_name)}-(\d+)", path.name))
    ]
    number = max(numbers, default=0)
    while True:
        number += 1
        folder = root / f"{recipe_name}-{number:03d}"
        try:
            folder.mkdir()
        except FileExistsError:  # another process has just taken this number
            continue
        except OSError as error:
            raise MachineError(f"{folder}: cannot be created ({error.strerror}).") from error
        return _initialized(Run(folder))


def open_run(folder: str | Path) -> Run:
    """An existing run.

    Raises:
        RunError: the folder is not a run.
    """
    path = Path(folder)
    if not (path / "run.json").is_file():
        others = path.parent.iterdir() if path.parent.is_dir() else ()
        hint = nearest(path.name, (entry.name for entry in others if entry.name != path.name))
        raise RunError(f"{path} is not a run: it has no run.json.{hint}")
    run = Run(path)
    run.manifest()
    return run


def finished_runs(root: Path = Path("runs")) -> list[Run]:
    """Runs with a finished model, newest first. Folders that are not readable runs are skipped."""
    if not root.is_dir():
        return []
    runs = []
    for path in root.iterdir():
        if not (path / "run.json").is_file() or not (path / "model").is_dir():
            continue
        try:
            runs.append((read_json(path / "run.json").get("finished", ""), path))
        except RunError as error:  # one damaged run must not hide the others
            logger.warning("%s It is skipped.", error)
    return [Run(path) for _, path in sorted(runs, reverse=True)]


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is not a JSON object.")
    version = content.get("format", FORMAT)
    if not isinstance(version, int):
        raise RunError(f"{path} has the format {version!r}, which is not a number.")
    if version > FORMAT:
        raise RunError(
            f"{path} was written by llmkit {content.get('llmkit')}, format {version} > {FORMAT}. Update llmkit."
        )
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file with an object as JSON; see `finite`."""
    replace_file(path, (json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def finite(value: Any) -> Any:
    """The value for JSON, which has no infinity or NaN: numbers that are not finite become null, at any depth."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _initialized(run: Run) -> Run:
    """Two processes may call this at once with the same name; only one of them creates the folder."""
    try:
        run.checkpoints.mkdir()
    except FileExistsError as error:
        raise RunError(f"{run.folder} was just created by another process; choose another name.") from error
    except OSError as error:
        raise MachineError(f"{run.checkpoints}: cannot be created ({error.strerror}).") from error
    write_json(run.folder / "run.json", {"format": FORMAT, "id": uuid.uuid4().hex, "status": "started"})
    return run


def _exchange(new: Path, old: Path) -> None:
    """Exchange two folders atomically.

    Only Linux supports this, and not on every file system. Elsewhere a kill can leave neither folder in the old one's
    place: the next resume then saves the model again, from the best checkpoint.
    """
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = _CURRENT_FOLDER, os.fsencode(new), _CURRENT_FOLDER, os.fsencode(old)
    if rename is not None and rename(*names, _EXCHANGE) == 0:
        return
    aside = new.with_name(f"{new.name}-aside")
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{folder}: cannot be created ({error.strerror}).") from error

"""The run folder: one training run, from its recipe to its model. Does not import torch.

runs/NAME-001/
  run.json         the manifest: status, versions, git commit, timings, best scores; replaced atomically
  recipe.yaml      the complete recipe of the run
  env.json         the machine; data.json: files, rows, hashes, labels
  bad_rows.jsonl   the rows that data.skip_bad_rows left out, each with its place and fault
  metrics.jsonl    one object per line, each with its step
  checkpoints/step-00000500/    saved atomically, see llmkit/atomic.py
  model/           the finished model, a Hugging Face folder
  evaluation/      results of `llmkit evaluate`
  tracking/        files of live tracking, see llmkit/training/tracking.py
  loss.png         a plot of the losses, made when the training ends
  report.html      everything above on one page, written when the training ends and after each `llmkit evaluate`
  lock             locked while a process trains here
"""

from __future__ import annotations

import ctypes
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from llmkit.atomic import TEMPORARY, machine_error, publish_folder, remove_folder, replace_file, sweep
from llmkit.errors import MachineError, RunError, nearest
from llmkit.runs.saved_json import RunManifest, read_checked, read_lines

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

    @property
    def bad_rows(self) -> Path:
        return self.folder / "bad_rows.jsonl"

    def manifest(self) -> dict[str, Any]:
        """run.json.

        Raises:
            RunError: missing, damaged, or written by a newer llmkit.
        """
        return read_checked(self.folder / "run.json", RunManifest)

    def update(self, **changes: Any) -> None:
        """Change keys of run.json atomically."""
        write_json(self.folder / "run.json", {**self.manifest(), **changes})

    def log(self, step: int, values: Mapping[str, float | int]) -> None:
        """Add a line to metrics.jsonl; see `finite`.

        Raises:
            MachineError: it cannot be written.
        """
        path, line = self.folder / "metrics.jsonl", json.dumps(finite({"step": step, **values})) + "\n"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise machine_error(path, error, needed_bytes=len(line)) from error

    def sync_metrics(self) -> None:
        """Make the lines of metrics.jsonl durable.

        Raises:
            MachineError: the disk does not take them.
        """
        path = self.folder / "metrics.jsonl"
        try:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise machine_error(path, error) from error

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; damaged ones are left out with a warning, and so is an incomplete last line."""
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        lines, damaged = read_lines(path)
        if damaged:
            logger.warning("%s: %s damaged lines are left out", path, f"{damaged:,}")
        return lines

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

    def set_checkpoints_aside(self) -> None:
        """Keep the checkpoints, all damaged, in another folder, and go on with an empty one."""
        if self.checkpoints.is_dir() and any(self.checkpoints.iterdir()):
            aside = _free_name(self.folder, "checkpoints.damaged-{}")
            self.checkpoints.rename(aside)
            logger.warning("the damaged checkpoints are now in %s", aside)
        self.checkpoints.mkdir(exist_ok=True)

    def set_model_aside(self) -> None:
        """Keep a damaged model in another folder; it will be saved again."""
        if self.model.is_dir():
            aside = _free_name(self.folder, "model.damaged-{}")
            self.model.rename(aside)
            logger.warning("the damaged model is now in %s", aside)

    def rewind(self, step: int) -> None:
        """Remove metrics after the step that training resumes from; they will be logged again.

        A file with damaged lines is kept beside the new one, as metrics.damaged-1.jsonl.
        """
        path = self.folder / "metrics.jsonl"
        lines = [line for line in self.metrics() if line["step"] <= step]
        lost = step - len({line["step"] for line in lines})
        if step and not path.exists():
            logger.warning("%s is missing; the metrics up to step %s are lost", path, f"{step:,}")
        elif lost > 0:
            logger.warning("%s: the metrics of %s of the first %s steps are lost", path, f"{lost:,}", f"{step:,}")
        if path.exists() and read_lines(path)[1]:
            path.replace(_free_name(self.folder, "metrics.damaged-{}.jsonl"))
        replace_file(path, "".join(json.dumps(line) + "\n" for line in lines).encode())


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
            runs.append((Run(path).manifest().get("finished") or "", path))
        except RunError as error:  # one damaged run must not hide the others
            logger.warning("%s It is skipped.", error)
    return [Run(path) for _, path in sorted(runs, reverse=True)]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file with an object as JSON; see `finite`."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace_file(path, text.encode(errors="backslashreplace"))  # names of files may have bytes that are not UTF-8


def finite(value: Any) -> Any:
    """The value for JSON, which has no infinity or NaN: numbers that are not finite become null, at any depth."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def _free_name(folder: Path, pattern: str) -> Path:
    """The first name of a pattern such as `metrics.damaged-{}.jsonl` that is not taken, from 1."""
    names = (folder / pattern.format(number) for number in count(1))
    return next(path for path in names if not path.exists())

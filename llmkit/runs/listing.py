"""The runs of a folder, as a table. Does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from llmkit.errors import RunError
from llmkit.runs.folder import Run
from llmkit.runs.lock import is_locked

RunStatus = Literal["running", "stopped", "interrupted", "failed", "finished", "damaged"]
"""`running`: a process trains there now. `stopped`: none does, though the run says nothing of an end, as after a kill."""
RunOrder = Literal["started", "name", "task", "status", "score"]


@dataclass(frozen=True)
class RunSummary:
    """One line of the table; None where the run does not say."""

    folder: Path
    status: RunStatus
    task: str | None
    model: str | None
    started: datetime | None
    seconds: float | None
    """Time spent in training, over all resumptions."""
    step: int | None
    """Of the best evaluation so far."""
    total_steps: int | None
    metric: str | None
    """What the best checkpoint is chosen by."""
    score: float | None
    error: str | None
    """Why it failed, or what is damaged."""


def list_runs(
    root: str | Path = "runs",
    *,
    task: str | None = None,
    status: RunStatus | None = None,
    order: RunOrder = "started",
) -> list[RunSummary]:
    """The runs in a folder; entries that are no runs are left out.

    Args:
        task, status: only runs with these.
        order: newest first, the highest score first, or by the alphabet. Runs without the value are last.
    Raises:
        RunError: there is no such folder.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder. Give the folder that contains the runs.")
    summaries = [_summary(Run(path)) for path in sorted(folder.iterdir()) if (path / "run.json").is_file()]
    kept = [run for run in summaries if task in (None, run.task) and status in (None, run.status)]
    key, descending = _ORDERS[order]
    known = sorted((run for run in kept if key(run) is not None), key=key, reverse=descending)
    return [*known, *(run for run in kept if key(run) is None)]


_ORDERS: Mapping[RunOrder, tuple[Callable[[RunSummary], Any], bool]] = {
    "started": (lambda run: run.started, True),
    "score": (lambda run: run.score, True),
    "name": (lambda run: run.folder.name, False),
    "task": (lambda run: run.task, False),
    "status": (lambda run: run.status, False),
}


def _summary(run: Run) -> RunSummary:
    try:
        manifest = run.manifest()
    except RunError as error:
        return RunSummary(run.folder, "damaged", None, None, None, None, None, None, None, None, str(error))
    best = manifest.get("best") or {}
    metric = best.get("metric") or best.get("figure")
    score = best["validation"][metric] if metric else None
    return RunSummary(
        folder=run.folder,
        status=_status(run, manifest["status"]),
        task=manifest.get("task"),
        model=_text(manifest.get("model")),
        started=_time(manifest.get("started")),
        seconds=manifest.get("training_seconds"),
        step=best.get("step"),
        total_steps=manifest.get("total_steps"),
        metric=metric,
        score=None if score is None else float(score),
        error=_text(manifest.get("error")),
    )


def _status(run: Run, recorded: str) -> RunStatus:
    if is_locked(run.folder):
        return "running"
    if recorded in ("started", "running"):
        return "stopped"
    status: RunStatus = recorded  # type: ignore[assignment]  # checked as the manifest was read
    return status


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)

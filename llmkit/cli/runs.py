"""`llmkit runs`: the runs of a folder."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llmkit.cli.output import one_line, shown
from llmkit.cli.tables import print_table

if TYPE_CHECKING:
    from llmkit.api import RunSummary


def runs(
    folder: Annotated[str, typer.Argument(help="Folder that contains the runs.")] = "runs",
    task: Annotated[str | None, typer.Option(help="Only runs of this task, such as classification.")] = None,
    status: Annotated[
        Literal["running", "stopped", "interrupted", "failed", "finished", "damaged"] | None,
        typer.Option(help="Only runs with this status. Stopped: killed, without saying so."),
    ] = None,
    sort: Annotated[
        Literal["started", "name", "task", "status", "score"],
        typer.Option(help="Order: newest first, highest score first, or alphabetical."),
    ] = "started",
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object with all details.")] = False,
) -> None:
    """List runs with their status, task, best validation score and age."""
    from llmkit.api import list_runs

    found = list_runs(folder, task=task, status=status, order=sort)
    if as_json:
        print(shown(json.dumps({"runs": [_record(run) for run in found]}, ensure_ascii=False)))
        return
    rows = [tuple(map(one_line, _cells(run))) for run in found]
    print_table(("run", "status", "task", "validation", "started"), rows)
    for run in found:
        if run.error is not None:
            print(shown(one_line(f"{run.folder}: {run.error}")))


COMMANDS = (runs,)


def _record(run: RunSummary) -> dict[str, Any]:
    started = None if run.started is None else run.started.isoformat()
    return {**dataclasses.asdict(run), "folder": str(run.folder), "started": started}


def _cells(run: RunSummary) -> tuple[str, ...]:
    score = "" if run.score is None else f"{run.metric} {run.score:.4f}"
    age = "" if run.started is None else _age(datetime.now(timezone.utc) - run.started)
    return (run.folder.name, run.status, run.task or "", score, age)


def _age(time: timedelta) -> str:
    """`5 min ago`, in the largest unit that fits."""
    seconds = max(0.0, time.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"

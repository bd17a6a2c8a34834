"""`llmkit finetune`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from llmkit.errors import UsageError

Recipe = Annotated[str | None, typer.Argument(help="The recipe, a YAML file. Not needed with --resume.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe, such as train.epochs=1."),
]


def finetune(
    recipe: Recipe = None,
    overrides: Overrides = None,
    run: Annotated[
        str | None, typer.Option(help="Folder of the run; without it, runs/RECIPE-001, -002 and so on.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Continue a run from its newest checkpoint.")
    ] = None,
    processes: Annotated[
        str | None, typer.Option(metavar="N", help="Processes on this machine, one a device; auto for all GPUs.")
    ] = None,
) -> None:
    """Train a model as a recipe says: check, train, keep the best checkpoint as a model folder."""
    if recipe is None and resume is None:
        raise UsageError("give a recipe, such as recipes/quickstart.yaml, or --resume RUN.")
    if run is not None and resume is not None:
        raise UsageError(f"--run is the folder of a new run, and --resume continues {resume}; give one of them.")
    if processes is not None and "RANK" not in os.environ:
        from llmkit.cli.processes import start_processes

        count = _count(processes)
        raise typer.Exit(start_processes(count, sys.argv[1:]))
    from llmkit.api import finetune as train
    from llmkit.cli.progress import TrainingDisplay

    with TrainingDisplay() as display:
        finished = train(recipe, overrides=overrides or (), run=run, resume=resume, report=display)
    if finished is not None:
        display.finish(finished)


COMMANDS = (finetune,)


def _count(processes: str) -> int:
    if processes == "auto":
        from llmkit.api import count_devices

        return count_devices()
    if processes.isdecimal() and int(processes) >= 1:
        return int(processes)
    raise UsageError(f"--processes {processes}: a whole number from 1, or auto.")

"""`llmkit finetune`."""

from __future__ import annotations

import os
import subprocess
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
    if processes is not None and "RANK" not in os.environ:
        raise typer.Exit(_launch(processes))
    if recipe is None and resume is None:
        raise UsageError("give a recipe, such as recipes/quickstart.yaml, or --resume RUN.")
    from llmkit.api import finetune as train
    from llmkit.cli.progress import TrainingDisplay

    with TrainingDisplay() as display:
        finished = train(recipe, overrides=overrides or (), run=run, resume=resume, report=display)
    if finished is not None:
        display.finish(finished)


COMMANDS = (finetune,)


def _launch(processes: str) -> int:
    """Start this same command in several processes, through torch's launcher; accelerate finds itself in them."""
    if processes == "auto":
        from llmkit.api import count_devices

        count = count_devices()
    elif processes.isdecimal() and int(processes) >= 1:
        count = int(processes)
    else:
        raise UsageError(f"--processes {processes}: a whole number from 1, or auto.")
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m", "llmkit"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    return subprocess.run([sys.executable, "-m", *launcher, *sys.argv[1:]], env=environment, check=False).returncode

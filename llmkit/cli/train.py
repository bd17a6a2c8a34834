"""`llmkit pretrain` and `llmkit finetune`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Literal

import typer

from llmkit.cli.processes import process_count, start_processes
from llmkit.errors import UsageError
from llmkit.stopping import stopping_at_signals

Recipe = Annotated[str | None, typer.Argument(help="Recipe, a YAML file. Not needed with --resume.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value of the recipe, such as train.epochs=1. Can be repeated."
    ),
]


_EXAMPLES = {"finetune": "recipes/quickstart.yaml", "pretrain": "recipes/pretrain/gpt2-tiny.yaml"}
RunFolder = Annotated[
    str | None, typer.Option("--run", help="Folder for the run. Default: runs/RECIPE-001, then -002 and so on.")
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        help="Continue a run from its latest checkpoint. Add --set train.steps=N to train for more steps.",
    ),
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart", help="With --resume: train again from step 0, if all checkpoints of the run are damaged."
    ),
]
Processes = Annotated[
    str | None,
    typer.Option(
        "--processes", metavar="N", help="Number of processes on this machine, one per device; auto uses all GPUs."
    ),
]


def finetune(
    recipe: Recipe = None,
    overrides: Overrides = None,
    run: RunFolder = None,
    resume: Resume = None,
    restart: Restart = False,
    processes: Processes = None,
) -> None:
    """Train a model from a recipe: check, train, save the best checkpoint as a model folder."""
    _train("finetune", recipe, overrides=overrides, run=run, resume=resume, restart=restart, processes=processes)


def pretrain(
    recipe: Recipe = None,
    overrides: Overrides = None,
    run: RunFolder = None,
    resume: Resume = None,
    restart: Restart = False,
    processes: Processes = None,
) -> None:
    """Pretrain a language model on raw text: next token (GPT-2), masked tokens (BERT), span corruption (T5)."""
    _train("pretrain", recipe, overrides=overrides, run=run, resume=resume, restart=restart, processes=processes)


COMMANDS = (pretrain, finetune)


def _train(
    verb: Literal["finetune", "pretrain"],
    recipe: str | None,
    *,
    overrides: list[str] | None,
    run: str | None,
    resume: str | None,
    restart: bool,
    processes: str | None,
) -> None:
    if recipe is None and resume is None:
        raise UsageError(f"give a recipe, such as {_EXAMPLES[verb]}, or --resume RUN.")
    if run is not None and resume is not None:
        raise UsageError(f"--run is the folder of a new run, and --resume continues {resume}; give only one of them.")
    if processes is not None and "RANK" not in os.environ:
        raise typer.Exit(start_processes(process_count(processes), sys.argv[1:]))
    from llmkit import api
    from llmkit.cli.progress import TrainingDisplay

    train = api.pretrain if verb == "pretrain" else api.finetune
    with stopping_at_signals([signal.SIGINT]), TrainingDisplay() as display:
        result = train(recipe, overrides=overrides or (), run=run, resume=resume, restart=restart, report=display)
    if result is not None:
        display.finish(result)

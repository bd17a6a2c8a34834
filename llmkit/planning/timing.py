"""The time of a training, from a few steps, an evaluation and a save that are really done, with random weights."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator

from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.evaluation.measure import measure
from llmkit.evaluation.repeated_messages import no_repeated_messages
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.planning.batches import Batches
from llmkit.planning.tensors import random_like, replace_tensors
from llmkit.recipe.blocks import TrainBlock
from llmkit.tasks.base import WRITING_HEADS, Task
from llmkit.training.checkpoints import CheckpointStore
from llmkit.training.loop import new_stepper
from llmkit.training.progress import Progress
from llmkit.training.schedule import Plan
from llmkit.training.step import Stepper

_SECONDS, _FEWEST, _MOST = 15.0, 3, 40
"""Steps are timed for so long, but at least and at most so many."""
_VALIDATION_ROWS = 64


@dataclass(frozen=True)
class Timing:
    """Measured here and now, and what that comes to for the whole training."""

    steps: int
    """Steps that were timed, without those before that load libraries."""
    step_seconds: float
    """Of a step of average size."""
    evaluation_seconds: float
    """Of one evaluation, from some of its rows."""
    save_seconds: float
    evaluations: int
    saves: int
    total_seconds: float
    """Of all steps, evaluations and saves; reading and encoding rows, and the checks before the first step come on top."""
    is_upper_limit: bool
    """Whether an evaluation writes texts, which are longest with random weights."""


def timed(
    task: Task,
    examples: Examples,
    validation_rows: Iterable[Row],
    validation: Examples,
    *,
    plan: Plan,
    batches: Batches,
    accelerator: Accelerator,
    folder: Path,
) -> Timing:
    """Time a few steps, an evaluation and a save.

    Args:
        task: around a model without weights, which gets random ones.
        validation_rows: not encoded yet.
        folder: of the checkpoints; a temporary one is made on the same disk.
    """
    replace_tensors(task.loaded.model, random_like)
    stepper = new_stepper(task, examples=examples, train=task.recipe.train, accelerator=accelerator)
    steps, step_seconds = _time_steps(stepper, plan, batches, train=task.recipe.train)
    save_seconds = _time_save(stepper, folder)
    rows = list(islice(validation_rows, _VALIDATION_ROWS))
    evaluation_seconds = _time_evaluation(task, rows, validation, accelerator=accelerator)
    count, saved = plan.evaluations_left(0), plan.saves_left(0)
    return Timing(
        steps=steps,
        step_seconds=step_seconds,
        evaluation_seconds=evaluation_seconds,
        save_seconds=save_seconds,
        evaluations=count,
        saves=saved,
        total_seconds=plan.total_steps * step_seconds + count * evaluation_seconds + saved * save_seconds,
        is_upper_limit=task.recipe.HEAD in WRITING_HEADS and bool(task.recipe.metrics),
    )


def _time_steps(stepper: Stepper, plan: Plan, batches: Batches, *, train: TrainBlock) -> tuple[int, float]:
    """Number of timed steps, and seconds of a step of average size. The learning rate is 0: no weight changes."""
    stepper.task.loaded.model.train()
    for step in (batches.largest_step, 0):  # libraries choose their kernels, memory is allocated
        stepper.run(step, learning_rate=0.0)
    seconds = positions = 0.0
    count = 0
    while count < min(_MOST, batches.steps) and (count < _FEWEST or seconds < _SECONDS):
        totals = stepper.run(count, learning_rate=0.0)
        seconds += totals.elapsed_seconds
        positions += totals.positions
        count += 1
    average = batches.positions / batches.steps
    return count, seconds / positions * average


def _time_save(stepper: Stepper, folder: Path) -> float:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    with tempfile.TemporaryDirectory(dir=existing, prefix=".tmp-plan-") as name:
        store = CheckpointStore(Path(name), run_id="plan", keep=1)
        started = time.monotonic()
        store.save(stepper.task.loaded, stepper.optimizer, Progress(step=1), scaler=None, about={})
        return time.monotonic() - started


def _time_evaluation(task: Task, rows: list[Row], validation: Examples, *, accelerator: Accelerator) -> float:
    """Seconds of an evaluation on all rows, from its first ones."""
    with no_repeated_messages():  # all rows were encoded before
        few, warm = task.encode(rows), task.encode(rows[:2])
    engine = TransformersEngine(task.loaded, device=accelerator.device)
    metrics = task.recipe.evaluation.metrics
    with no_repeated_messages():
        measure(task, warm, engine=engine, accelerator=accelerator, metrics=metrics)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.monotonic()
    with no_repeated_messages():
        measure(task, few, engine=engine, accelerator=accelerator, metrics=metrics)
    return (time.monotonic() - started) * float(validation.lengths.sum()) / max(1.0, float(few.lengths.sum()))

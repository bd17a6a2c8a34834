"""`fit`, the only training loop. It yields events; the caller logs, prints, or stops after two steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch.nn.parallel import DistributedDataParallel

from llmkit.data.examples import Examples
from llmkit.errors import InterruptedRun, MachineError, is_out_of_memory
from llmkit.evaluation.measure import Measured
from llmkit.evaluation.metrics import is_better
from llmkit.models.cpu import speed_up_on_cpu
from llmkit.models.layers import recompute_activations
from llmkit.recipe.blocks import TrainBlock
from llmkit.tasks.base import Task
from llmkit.training.checkpoints import Checkpoint, CheckpointStore, restore, scaler_state
from llmkit.training.optimizer import adamw
from llmkit.training.progress import Evaluated, Event, MicroBatchesReduced, Progress, Saved, StepResult
from llmkit.training.saving import Saver
from llmkit.training.schedule import Plan
from llmkit.training.step import LossModule, Stepper, StepTotals

_MICRO_BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}
"""On a CPU, larger micro-batches exceed the cache and are not faster. On a GPU, small models take as long as it takes to start
their kernels: on an H200, two passes over 16,384 tokens took 1.8 (GPT-2 124M) and 2.1 times (BERT base) as long as the
Trainer's one over 32,768."""


@dataclass(frozen=True)
class Validation:
    """How a model is evaluated during training."""

    measure: Callable[[], Measured]
    best: str
    """The score that selects the best checkpoint."""
    patience: int | None


def fit(
    task: Task,
    *,
    examples: Examples,
    plan: Plan,
    train: TrainBlock,
    accelerator: Accelerator,
    validation: Validation,
    store: CheckpointStore | None,
    resume: Checkpoint | None = None,
    stop_signal: Callable[[], int | None] = lambda: None,
    about: Mapping[str, Any] | None = None,
) -> Iterator[Event]:
    """Train `task` on `examples`, and yield each step, evaluation and checkpoint.

    Args:
        store: where to save checkpoints; None on all processes except the first, or to save none.
        resume: a verified checkpoint to continue from, bit for bit in the same environment.
        stop_signal: returns the number of a received signal, called after each step; training then saves and stops.
        about: additional entries of the checkpoints' manifests.
    Raises:
        DivergedError: the loss or the gradient is not finite; the last checkpoint is not affected.
        MachineError: the last checkpoint, or three in a row, could not be saved; or memory does not suffice.
        InterruptedRun: a signal was received; the checkpoint of this step is complete.
    """
    stepper = new_stepper(task, examples=examples, train=train, accelerator=accelerator)
    saver = Saver(store, loaded=task.loaded, optimizer=stepper.optimizer, accelerator=accelerator, about=about or {})
    progress = Progress() if resume is None else _resumed(stepper, resume)
    while progress.step < plan.total_steps and not _out_of_patience(validation, progress):
        step = progress.step
        learning_rate = plan.learning_rate(step, schedule=train.schedule)
        task.loaded.model.train()
        fitting = stepper.micro_batch_tokens
        totals = stepper.run(step, learning_rate=learning_rate)
        if stepper.micro_batch_tokens != fitting:
            yield MicroBatchesReduced(step=step + 1, micro_batch_tokens=stepper.micro_batch_tokens)
        rows = min(train.batch_size, len(examples) - (step % plan.steps_per_epoch) * train.batch_size)
        progress = progress.after_step(examples=rows, targets=totals.targets)
        epoch = progress.step / plan.steps_per_epoch
        yield _step_result(totals, step=progress.step, epoch=epoch, learning_rate=learning_rate, task=task)
        before = progress
        if plan.evaluates_after(progress.step):
            evaluated, progress = _evaluate(task, validation, progress)
            yield evaluated
        received = _signal_of_any_process(stop_signal(), accelerator)
        if plan.saves_after(progress.step) or received:
            ends = progress.step == plan.total_steps or _out_of_patience(validation, progress)
            saved, folder = saver.save(progress, last=ends or received is not None)
            if folder is not None:
                yield Saved(step=progress.step, folder=folder)
            if saved:  # a signal during the save needs no second one
                received = received or _signal_of_any_process(stop_signal(), accelerator)
            else:
                progress = progress.with_best_of(before)
        if received:
            raise InterruptedRun(f"stopped by signal {received} after step {progress.step}", signal_number=received)


def _step_result(totals: StepTotals, *, step: int, epoch: float, learning_rate: float, task: Task) -> StepResult:
    return StepResult(
        step=step,
        epoch=epoch,
        loss=task.loaded.loss_unit * totals.nats / max(1, totals.targets),
        learning_rate=learning_rate,
        gradient_norm=totals.gradient_norm,
        targets=totals.targets,
        tokens=totals.tokens,
        padding_share=1 - totals.tokens / max(1, totals.positions),
        elapsed_seconds=totals.elapsed_seconds,
    )


def micro_batch_limit(train: TrainBlock, device_type: str) -> int:
    """Tokens of a micro-batch, padding included."""
    if train.micro_batch_tokens != "auto":
        return train.micro_batch_tokens
    return _MICRO_BATCH_TOKENS.get(device_type, 4096)


def new_stepper(task: Task, *, examples: Examples, train: TrainBlock, accelerator: Accelerator) -> Stepper:
    """The model on its device and the optimizer, ready for the first step."""
    model = task.loaded.model
    if accelerator.device.type == "cpu":
        speed_up_on_cpu(model)
    model.to(accelerator.device)
    if train.gradient_checkpointing:
        recompute_activations(model)
    loss = LossModule(task, smoothed_share=train.label_smoothing)
    scaled = train.optimizer == "adamw-scaled"
    optimizer = adamw(model, weight_decay=train.weight_decay, layer_decay=train.layer_decay, scaled=scaled)
    module, optimizer = accelerator.prepare(loss, optimizer)
    if isinstance(module, DistributedDataParallel):
        # It made the weights of all processes equal. Its passes would wait for the other processes, and one that runs out
        # of memory would leave them waiting: the stepper sums the gradients itself.
        module = module.module
    return Stepper(
        task=task,
        examples=examples,
        module=module,
        optimizer=optimizer,
        accelerator=accelerator,
        batch_size=train.batch_size,
        max_grad_norm=train.max_grad_norm,
        micro_batch_tokens=micro_batch_limit(train, accelerator.device.type),
        seed=train.seed,
    )


def _resumed(stepper: Stepper, checkpoint: Checkpoint) -> Progress:
    progress = restore(checkpoint, stepper.task.loaded, stepper.optimizer)
    scaler = stepper.accelerator.scaler
    if scaler is not None and (state := scaler_state(checkpoint)):
        scaler.load_state_dict(state)
    return progress


def _evaluate(task: Task, validation: Validation, progress: Progress) -> tuple[Evaluated, Progress]:
    started = time.monotonic()
    task.loaded.model.eval()
    try:
        measured = validation.measure()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MachineError(
            f"out of memory in the evaluation after step {progress.step:,}. Use shorter examples (a smaller max_tokens or "
            "block_tokens) or a smaller model."
        ) from error
    value = measured.scores.values[validation.best]
    better = progress.best_value is None or is_better(validation.best, value, progress.best_value)
    elapsed = time.monotonic() - started
    return Evaluated(progress.step, measured, better, elapsed), progress.after_evaluation(value, better=better)


def _out_of_patience(validation: Validation, progress: Progress) -> bool:
    return validation.patience is not None and progress.evaluations_since_best >= validation.patience


def _signal_of_any_process(signal_number: int | None, accelerator: Accelerator) -> int | None:
    """A signal may reach only one process, but all must stop after the same step."""
    if accelerator.num_processes == 1:
        return signal_number
    received = [number for number in gather_object([signal_number]) if number]
    return max(received, default=None)

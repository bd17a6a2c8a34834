"""The training of a prepared task, with its validation, into a run folder. Imports torch."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

import torch
from accelerate import PartialState

from llmkit.api.publishing import publish
from llmkit.api.run_records import record_event
from llmkit.errors import InterruptedRun, LlmkitError
from llmkit.evaluation.measure import Measured, measure
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.runs.folder import Run
from llmkit.training.checkpoints import CheckpointStore
from llmkit.training.loop import Validation, fit
from llmkit.training.prepared import Prepared
from llmkit.training.progress import Event
from llmkit.training.signals import stop_signals
from llmkit.training.throughput import totals
from llmkit.training.tracking import tracking

logger = logging.getLogger("llmkit")


def is_first_process() -> bool:
    """Join the processes that were started together, before anything else uses accelerate's state.

    Without `cpu`, accelerate on a machine with no GPU treats each of them as the only process, and
    each would run a separate training.
    """
    cpu = os.environ.get("ACCELERATE_USE_CPU") == "true" or not torch.cuda.is_available()
    first: bool = PartialState(cpu=cpu and "LOCAL_RANK" in os.environ).is_main_process
    return first


def train_into(run: Run, prepared: Prepared, report: Callable[[Event], None]) -> None:
    """Train, record each event in the run, and publish the best checkpoint."""
    recipe = prepared.recipe
    store = CheckpointStore(run.checkpoints, run_id=run.manifest()["id"], keep=recipe.train.keep_checkpoints)
    started = time.monotonic()
    before = run.manifest().get("training_seconds", 0.0)
    run.rewind(prepared.checkpoint.step if prepared.checkpoint else 0)

    try:
        with tracking(run, prepared) as track:

            def record(event: Event) -> None:
                record_event(run, event, validation=prepared.validation)
                track(event)
                report(event)

            train(prepared, store, record)
        run.update(training_seconds=before + time.monotonic() - started, **totals(run.metrics(), prepared))
        publish(run, store, prepared)
    except InterruptedRun as error:
        run.update(status="interrupted", error=str(error), training_seconds=before + time.monotonic() - started)
        fix = f"Go on with: llmkit finetune --resume {run.folder}"
        raise InterruptedRun(f"{run.folder}: {error}. {fix}", signal_number=error.exit_code - 128) from error
    except LlmkitError as error:
        try:
            run.update(status="failed", error=str(error), training_seconds=before + time.monotonic() - started)
        except LlmkitError as fault:  # on a full disk; the first error is the one to report
            logger.warning("%s", fault)
        raise
    except (KeyboardInterrupt, SystemExit):  # a signal after the last step
        if run.manifest()["status"] != "finished":
            run.update(status="interrupted", error="stopped before its model was complete")
            logger.warning("stopped before the model was complete. Go on with: llmkit finetune --resume %s", run.folder)
        raise


def train(prepared: Prepared, store: CheckpointStore | None, record: Callable[[Event], None] | None) -> None:
    """Run the loop to its end, on every process."""
    recipe, task, accelerator = prepared.recipe, prepared.task, prepared.accelerator
    settings = recipe.train
    if prepared.micro_batch_tokens is not None:
        settings = settings.model_copy(update={"micro_batch_tokens": prepared.micro_batch_tokens})
        logger.info("micro_batch_tokens: %s, since memory did not suffice for more", f"{prepared.micro_batch_tokens:,}")
    engine = TransformersEngine(task.loaded, device=accelerator.device)

    def validate() -> Measured:
        metrics = recipe.evaluation.metrics
        rows = prepared.validation
        # Before the checkpoint of this step is saved, which then has the threshold that was tuned on its weights.
        return measure(task, rows, engine=engine, accelerator=accelerator, metrics=metrics, tune=True)

    with stop_signals() as received:
        for event in fit(
            task,
            examples=prepared.train,
            plan=prepared.plan,
            train=settings,
            accelerator=accelerator,
            validation=Validation(validate, best=prepared.best, patience=recipe.evaluation.patience),
            store=store,
            resume=prepared.checkpoint,
            stop_signal=received,
            about={
                "task": recipe.task,
                "batch_size": recipe.train.batch_size,
                "recipe": recipe.model_dump(mode="json"),
            },
        ):
            if record is not None:
                record(event)

"""`finetune`: one recipe, one run folder, one training."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.api.plotting import draw_finished
from llmkit.atomic import replace_file, sweep
from llmkit.errors import InterruptedRun, LlmkitError, UsageError
from llmkit.recipe.loading import dump_recipe, load_recipe
from llmkit.runs.card import model_card
from llmkit.runs.environment import environment, git_commit
from llmkit.runs.folder import Run, create_run, open_run, refuse_used, write_json
from llmkit.runs.lock import locked
from llmkit.tasks import RECIPES
from llmkit.training.metric_checks import check_metrics
from llmkit.training.prepared import Prepared
from llmkit.training.resume import check_plan, check_recipe, find_checkpoint, is_replanned
from llmkit.training.signals import stop_signals
from llmkit.training.splits import open_splits
from llmkit.training.throughput import totals

if TYPE_CHECKING:
    from llmkit.tasks.base import Scores, TaskRecipe
    from llmkit.training.checkpoints import Checkpoint, CheckpointStore
    from llmkit.training.progress import Event


@dataclass(frozen=True)
class Begun:
    """The first thing a training reports: all that was decided before the first step."""

    run: Run
    prepared: Prepared


@dataclass(frozen=True)
class Finetuned:
    """A finished training."""

    run: Run
    best: str
    """The metric that picked the checkpoint."""
    best_step: int
    scores: dict[str, float]
    """On the validation rows, at that checkpoint."""
    use: str
    """The command that uses the model."""
    already_complete: bool = False


Report = Callable[["Event | Begun"], None]


def finetune(
    recipe: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    run: str | Path | None = None,
    resume: str | Path | None = None,
    report: Report = lambda event: None,
) -> Finetuned | None:
    """Train a recipe into a run folder.

    Args:
        recipe: its file; not needed to resume.
        overrides: `a.b=value` each.
        run: the folder of a new run; without it, `runs/RECIPE-001`, or the next free number.
        resume: the folder of a run to continue, from its newest whole checkpoint; to more steps, if an override asks
            for more and the learning rates of those done stay the same.
        report: called with each event.
    Returns:
        None on all processes but the first, which write and report nothing.
    Raises:
        LlmkitError: whatever the user can mend; see llmkit/errors.py.
    """
    wanted, kept, resumed = _recipe_and_run(recipe, overrides=overrides, resume=resume)
    replanned = is_replanned(kept, wanted)
    if resumed is not None and not replanned and resumed.manifest()["status"] == "finished":
        return _finished(resumed, already_complete=True)
    if resumed is None and run is not None:
        refuse_used(run)  # found now, not after minutes of preparation
    check_metrics(wanted)
    splits = open_splits(wanted)
    from llmkit.training.prepare import prepare  # loads torch; a missing file or column is reported before

    first = _is_first_process()
    with ExitStack() as held:
        if resumed is not None and first:
            held.enter_context(locked(resumed.folder))
            sweep(resumed.checkpoints)
        checkpoint = find_checkpoint(resumed, keep=wanted.train.keep_checkpoints) if resumed else None
        prepared = prepare(wanted, splits, checkpoint=checkpoint, resumed=resumed)
        if resumed is not None and replanned:
            check_plan(resumed, old=kept, prepared=prepared)
        if not first:
            _train(prepared, None, None)
            return None
        name = Path(str(recipe)).stem
        folder = resumed or create_run(run, recipe_name=name)
        if resumed is None:
            held.enter_context(locked(folder.folder))
        _describe(folder, prepared)
        report(Begun(run=folder, prepared=prepared))
        return _train_into(folder, prepared, report)


def count_devices() -> int:
    """GPUs of this machine, or 1."""
    import torch

    return max(1, torch.cuda.device_count())


def _is_first_process() -> bool:
    """Join the processes that were started together, before anything else asks accelerate about them.

    Without `cpu`, accelerate on a machine with no GPU takes each of them for the only one: as many trainings as
    processes, side by side.
    """
    import torch
    from accelerate import PartialState

    cpu = os.environ.get("ACCELERATE_USE_CPU") == "true" or not torch.cuda.is_available()
    first: bool = PartialState(cpu=cpu and "LOCAL_RANK" in os.environ).is_main_process
    return first


def _recipe_and_run(
    recipe: str | Path | None, *, overrides: Sequence[str], resume: str | Path | None
) -> tuple[TaskRecipe, TaskRecipe, Run | None]:
    """The recipe to train, the one that was trained so far, and the run to go on with."""
    if resume is None:
        if recipe is None:
            raise UsageError("give a recipe, or --resume RUN.")
        new = load_recipe(recipe, kinds=RECIPES, overrides=overrides).recipe
        return new, new, None
    folder = open_run(resume)
    kept = load_recipe(folder.recipe, kinds=RECIPES).recipe
    wanted = load_recipe(recipe or folder.recipe, kinds=RECIPES, overrides=overrides).recipe
    check_recipe(kept, wanted, run=folder)
    return wanted, kept, folder


def _train_into(run: Run, prepared: Prepared, report: Report) -> Finetuned:
    from llmkit.training.checkpoints import CheckpointStore

    recipe = prepared.recipe
    store = CheckpointStore(run.checkpoints, run_id=run.manifest()["id"], keep=recipe.train.keep_checkpoints)
    started = time.monotonic()
    before = run.manifest().get("training_seconds", 0.0)
    run.rewind(prepared.checkpoint.step if prepared.checkpoint else 0)

    def record(event: Event) -> None:
        _record(run, event)
        report(event)

    try:
        _train(prepared, store, record)
    except InterruptedRun as error:
        run.update(status="interrupted", error=str(error), training_seconds=before + time.monotonic() - started)
        fix = f"Go on with: llmkit finetune --resume {run.folder}"
        raise InterruptedRun(f"{run.folder}: {error}. {fix}", signal_number=error.exit_code - 128) from error
    except LlmkitError as error:
        run.update(status="failed", error=str(error), training_seconds=before + time.monotonic() - started)
        raise
    run.update(training_seconds=before + time.monotonic() - started, **totals(run.metrics(), prepared))
    return _publish(run, store, prepared)


def _train(prepared: Prepared, store: CheckpointStore | None, record: Callable[[Event], None] | None) -> None:
    """Run the loop to its end, on every process."""
    from llmkit.evaluation.measure import measure
    from llmkit.inference.engines.transformers import TransformersEngine
    from llmkit.training.loop import Validation, fit

    recipe, task, accelerator = prepared.recipe, prepared.task, prepared.accelerator
    engine = TransformersEngine(task.loaded, device=accelerator.device)

    def validate() -> Scores:
        metrics = recipe.evaluation.metrics
        rows = prepared.validation
        # Before the checkpoint of this step is saved, which thereby has what was tuned on its own weights.
        return measure(task, rows, engine=engine, accelerator=accelerator, metrics=metrics, tune=True)[0]

    with stop_signals() as received:
        for event in fit(
            task,
            examples=prepared.train,
            plan=prepared.plan,
            train=recipe.train,
            accelerator=accelerator,
            validation=Validation(validate, best=prepared.best, patience=recipe.evaluation.patience),
            store=store,
            resume=prepared.checkpoint,
            stop_signal=received,
            about={"task": recipe.task, "batch_size": recipe.train.batch_size},
        ):
            if record is not None:
                record(event)


def _describe(run: Run, prepared: Prepared) -> None:
    """Write down what the training depends on, before its first step."""
    accelerator = prepared.accelerator
    world_size = accelerator.num_processes
    machine = environment(device=str(accelerator.device), world_size=world_size)
    # Before the recipe: a kill in between must not leave a longer recipe in a run that says it is finished.
    run.update(status="running", total_steps=prepared.plan.total_steps, **_replanned(run, prepared))
    replace_file(run.recipe, dump_recipe(prepared.recipe).encode())
    write_json(run.folder / "env.json", {**machine, "precision": prepared.precision.format})
    write_json(run.folder / "data.json", prepared.data)
    if prepared.checkpoint is None:  # later, the model's name is the checkpoint's
        run.update(model=prepared.task.loaded.name, model_revision=prepared.task.loaded.revision)
    if "targets" in prepared.data:
        run.update(targets=prepared.data["targets"])
    run.update(
        error=None,
        task=prepared.recipe.task,
        llmkit=machine["packages"]["llmkit"],
        git_commit=git_commit(),
        started=_now(),
        seed=prepared.recipe.train.seed,
        parameters=prepared.parameters,
        trained_parameters=prepared.trained_parameters,
        checks="off" if prepared.checks is None else dict(prepared.checks),
        precision={"format": prepared.precision.format, "reason": prepared.precision.reason},
        device=str(accelerator.device),
        world_size=world_size,
        resumed_from=prepared.checkpoint.step if prepared.checkpoint else None,
    )


def _replanned(run: Run, prepared: Prepared) -> dict[str, Any]:
    """One more entry in the manifest's list of changes, if the number of steps changes now."""
    manifest = run.manifest()
    before, after = manifest.get("total_steps"), prepared.plan.total_steps
    if before in (None, after):
        return {}
    step = prepared.checkpoint.step if prepared.checkpoint else 0
    entry = {"from": before, "to": after, "at_step": step, "time": _now()}
    return {"replanned": [*manifest.get("replanned", ()), entry]}


def _record(run: Run, event: Event) -> None:
    from llmkit.training.progress import Evaluated, StepResult

    if isinstance(event, StepResult):
        values: dict[str, Any] = {
            "train/loss": event.loss,
            "train/learning_rate": event.learning_rate,
            "train/gradient_norm": event.gradient_norm,
            "train/targets": event.targets,
            "train/tokens": event.tokens,
            "train/padding_share": event.padding_share,
            "train/seconds": event.elapsed_seconds,
        }
        run.log(event.step, values)
    elif isinstance(event, Evaluated):
        run.log(event.step, {f"evaluation/{name}": value for name, value in event.scores.values.items()})


def _publish(run: Run, store: CheckpointStore, prepared: Prepared) -> Finetuned:
    """Make the best checkpoint the finished model."""
    evaluations = [line for line in run.metrics() if f"evaluation/{prepared.best}" in line]
    best_step = _best_step(store)
    line = next(line for line in evaluations if line["step"] == best_step)
    scores = {key.removeprefix("evaluation/"): value for key, value in line.items() if key.startswith("evaluation/")}
    files = _finished_files(store.at_step(best_step), prepared)
    text = run.recipe.read_text(encoding="utf-8")
    task = prepared.task
    lora, adapter = prepared.recipe.train.lora, task.loaded.adapter
    base = adapter.base if adapter is not None and lora is not None and lora.save == "adapter" else None
    card = model_card(
        run.manifest(),
        recipe=text,
        scores=scores,
        use=task.recipe.USE.format(model="FOLDER"),
        base=base,
        library="llmkit" if not task.loaded.family.is_of_transformers else "transformers" if base is None else "peft",
    )
    run.publish_model({**files, "README.md": card.encode()}, step=best_step)
    run.update(
        status="finished", finished=_now(), best={"metric": prepared.best, "step": best_step, "validation": scores}
    )
    draw_finished(run)
    return _finished(run)


def _finished_files(checkpoint: Checkpoint, prepared: Prepared) -> dict[str, bytes]:
    """The checkpoint's own model; an adapter is merged into its base, unless the recipe keeps it."""
    from llmkit.models.export import model_files
    from llmkit.models.loading import load_model

    lora = prepared.recipe.train.lora
    if lora is None or lora.save == "adapter":
        return checkpoint.model_files()
    return model_files(load_model(str(checkpoint.folder), head=prepared.recipe.HEAD))


def _best_step(store: CheckpointStore) -> int:
    """What the newest checkpoint says; the last step always is evaluated and saved."""
    from llmkit.training.checkpoints import progress_of

    newest = store.newest()
    assert newest is not None, "the last step was just saved"
    best_step = progress_of(newest).best_step
    assert best_step is not None, "the last step is evaluated before it is saved"
    return best_step


def _finished(run: Run, *, already_complete: bool = False) -> Finetuned:
    manifest = run.manifest()
    best = manifest["best"]
    use = RECIPES[manifest["task"]].USE.format(model=run.folder)
    scores = {name: math.inf if value is None else value for name, value in best["validation"].items()}
    metric = best["metric"] if "metric" in best else best["figure"]  # its name in older runs
    return Finetuned(run, metric, best["step"], scores, use, already_complete=already_complete)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")

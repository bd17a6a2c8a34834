"""`finetune`: one recipe, one run folder, one training."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from llmkit.api.log_messages import collected_messages
from llmkit.api.run_records import describe_training
from llmkit.atomic import sweep
from llmkit.data.given import given_names
from llmkit.errors import ModelError, RunError, UsageError
from llmkit.evaluation.uncertainty.interval import Interval
from llmkit.models.integrity import check_saved_files, check_saved_weights
from llmkit.recipe.loading import load_recipe
from llmkit.recipe.nodes import RIVALS
from llmkit.runs.creation import new_run, refuse_used
from llmkit.runs.folder import Run, open_run
from llmkit.runs.lock import locked
from llmkit.tasks import RECIPES
from llmkit.tasks.base import TaskRecipe
from llmkit.training.metric_checks import check_metrics
from llmkit.training.prepared import Prepared
from llmkit.training.progress import Event
from llmkit.training.resume import (
    check_manifest,
    check_plan,
    check_recipe,
    check_trained_recipe,
    check_unchanged_plan,
    find_checkpoint,
    is_replanned,
)
from llmkit.training.row_checks import bad_rows_file, check_rows
from llmkit.training.splits import Split, SplitRows, open_splits
from llmkit.training.tracking import check_trackers

logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class Begun:
    """The first thing a training reports: all decisions before the first step."""

    run: Run
    prepared: Prepared


@dataclass(frozen=True)
class Finetuned:
    """A finished training."""

    run: Run
    best: str
    """The metric that selected the checkpoint."""
    best_step: int
    scores: dict[str, float]
    """On the validation rows, at that checkpoint."""
    use: str
    """The command that uses the model."""
    already_complete: bool = False
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """The 95 % intervals of those of the scores that have one, by the bootstrap over the validation rows."""


Report = Callable[[Event | Begun], None]


def finetune(
    recipe: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    run: str | Path | None = None,
    resume: str | Path | None = None,
    restart: bool = False,
    report: Report = lambda event: None,
) -> Finetuned | None:
    """Train a recipe into a run folder.

    Args:
        recipe: its file; not needed to resume.
        overrides: `a.b=value` each.
        run: the folder of a new run; without it, `runs/RECIPE-001`, or the next free number.
        resume: the folder of a run to continue, from its newest complete checkpoint; to more steps, if an override
            sets more and the learning rates of the finished steps do not change.
        restart: with `resume`, train again from step 0 because all of its checkpoints are damaged; they are kept in
            another folder.
        report: called with each event.
    Returns:
        None on all processes but the first, which write and report nothing.
    Raises:
        LlmkitError: whatever the user can fix; see llmkit/errors.py.
    """
    _check_restart(restart=restart, resume=resume)
    start = _start(recipe, overrides=given_names(overrides, what="overrides"), resume=resume)
    resumed = start.resumed
    if resumed is not None and start.finished and not _has_damaged_model(resumed):
        return _finished(resumed, already_complete=True)
    if resumed is None and run is not None:
        refuse_used(run)  # now, not after minutes of preparation
    check_metrics(start.recipe)
    check_trackers(start.recipe)
    with collected_messages() as messages:
        splits = open_splits(start.recipe, run=resumed)
        labels = check_rows(start.recipe, splits)
    from llmkit.api.run_training import is_first_process, train, train_into  # torch, after errors in rows

    first = is_first_process()
    with ExitStack() as locks:
        if resumed is not None and first:
            locks.enter_context(locked(resumed.folder))
            sweep(resumed.checkpoints)
        with collected_messages() as more:
            prepared = start.prepare(splits, labels=labels, restart=restart)
        if not first:
            train(prepared, None, None)
            return None
        describe = partial(start.describe, prepared=prepared, splits=splits, messages=[*messages, *more])
        _check_room(prepared, Path(run or "runs") if resumed is None else resumed.folder)
        if resumed is None:
            folder = locks.enter_context(new_run(run, recipe_name=Path(str(recipe)).stem, describe=describe))
        else:
            folder = start.described_again(describe, restart=restart)
        report(Begun(run=folder, prepared=prepared))
        train_into(folder, prepared, report)
        return _finished(folder)


def _check_restart(*, restart: bool, resume: str | Path | None) -> None:
    if restart and resume is None:
        raise UsageError("--restart: only for a run to --resume; a new run starts at step 0 anyway.")


def _check_room(prepared: Prepared, folder: Path) -> None:
    from llmkit.training.saving import check_room

    if prepared.steps_left:
        check_room(folder, prepared.task.loaded)


def count_devices() -> int:
    """GPUs of this machine, or 1."""
    import torch

    return max(1, torch.cuda.device_count())


@dataclass(frozen=True)
class _Start:
    """What a training starts from."""

    recipe: TaskRecipe
    trained_recipe: TaskRecipe
    """The recipe of the run so far; for a new run, `recipe`."""
    origins: Mapping[str, str]
    """Dotted key that was written -> `file:line:column` or `--set`."""
    resumed: Run | None
    finished: bool = False
    """Whether the resumed run is finished and gets no more steps."""

    @property
    def replanned(self) -> bool:
        """Whether the number of steps of the resumed run changes."""
        return is_replanned(self.trained_recipe, self.recipe)

    def prepare(self, splits: dict[Split, SplitRows], *, labels: tuple[str, ...] | None, restart: bool) -> Prepared:
        """The task at step 0, or at the newest complete checkpoint of the resumed run."""
        from llmkit.training.prepare import prepare

        resumed, keep = self.resumed, self.recipe.train.keep_checkpoints
        checkpoint = find_checkpoint(resumed, keep=keep, restart=restart) if resumed else None
        if resumed is not None and checkpoint is not None:
            check_trained_recipe(resumed, checkpoint, self.trained_recipe)
        if resumed is not None and checkpoint is None and self.finished and not restart:
            raise RunError(
                f"{resumed.model} is damaged, and there is no checkpoint from which it could be saved again. "
                "Restore it from a copy, or train again from step 0 with --restart."
            )
        prepared = prepare(self.recipe, splits, labels=labels, checkpoint=checkpoint, resumed=resumed)
        if resumed is not None and self.trained_recipe.train.micro_batch_tokens == self.recipe.train.micro_batch_tokens:
            prepared = replace(prepared, micro_batch_tokens=resumed.manifest().get("micro_batch_tokens"))
        if resumed is not None and self.replanned:
            check_plan(resumed, old=self.trained_recipe, prepared=prepared)
        elif resumed is not None:
            check_unchanged_plan(resumed, prepared)
        return prepared

    def describe(
        self,
        run: Run,
        *,
        prepared: Prepared,
        splits: Mapping[Split, SplitRows],
        messages: Sequence[Mapping[str, str]],
    ) -> None:
        """Write what the training depends on into its folder.

        Args:
            messages: what was logged about the data and the model.
        """
        bad_rows = bad_rows_file(splits) if self.recipe.data.skip_bad_rows else None
        describe_training(run, prepared, bad_rows=bad_rows, origins=self.origins, messages=messages)

    def described_again(self, describe: Callable[[Run], None], *, restart: bool) -> Run:
        """The resumed run, with what is damaged set aside."""
        assert self.resumed is not None
        if restart:
            self.resumed.set_checkpoints_aside()
        if self.finished:
            self.resumed.set_model_aside()
        describe(self.resumed)
        return self.resumed


def _start(recipe: str | Path | None, *, overrides: Sequence[str], resume: str | Path | None) -> _Start:
    if resume is None:
        if recipe is None:
            raise UsageError("give a recipe, or --resume RUN.")
        written = load_recipe(recipe, kinds=RECIPES, overrides=overrides)
        return _Start(written.recipe, written.recipe, written.origins, None)
    folder = open_run(resume)
    trained = load_recipe(folder.recipe, kinds=RECIPES).recipe
    written = load_recipe(recipe or folder.recipe, kinds=RECIPES, overrides=overrides)
    new = written.recipe
    check_manifest(folder, trained)
    check_recipe(trained, new, run=folder)
    finished = folder.manifest()["status"] == "finished" and not is_replanned(trained, new)
    origins = written.origins
    if recipe is None:  # the complete recipe of the run has every key; those that a user wrote are known from before
        changed = {key: place for key, place in origins.items() if place == "--set"}
        replaced = {f"train.{rival}" for key in changed for rival in RIVALS.get(key, ())}
        before = folder.manifest().get("recipe_origins") or {}
        origins = {key: place for key, place in before.items() if key not in replaced} | changed
    return _Start(new, trained, origins, folder, finished)


def _has_damaged_model(run: Run) -> bool:
    """Whether the model of a finished run has to be saved again; the warning says why."""
    try:
        if not run.model.is_dir():
            raise ModelError(f"{run.model} is missing.")
        check_saved_files(run.model, name=str(run.folder), read=())
        check_saved_weights(run.model, name=str(run.folder))
    except ModelError as error:
        logger.warning("%s It is saved again from the best checkpoint.", error)
        return True
    return False


def _finished(run: Run, *, already_complete: bool = False) -> Finetuned:
    manifest = run.manifest()
    best = manifest["best"]
    use = RECIPES[manifest["task"]].USE.format(model=run.folder)
    scores = {name: math.inf if value is None else value for name, value in best["validation"].items()}
    metric = best["metric"] if "metric" in best else best["figure"]  # its name in older runs
    intervals = {name: Interval(*ends) for name, ends in best.get("intervals", {}).items()}
    return Finetuned(run, metric, best["step"], scores, use, already_complete=already_complete, intervals=intervals)

"""Which settings and data may change when a run is resumed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, RecipeError, RunError
from llmkit.recipe.blocks import ScratchModel
from llmkit.recipe.recipe import Recipe
from llmkit.runs.folder import Run
from llmkit.runs.saved_json import DataManifest, read_checked, read_json
from llmkit.training.prepared import Prepared
from llmkit.training.schedule import Plan, plan_training, widest_gap

if TYPE_CHECKING:
    from llmkit.training.checkpoints import Checkpoint

logger = logging.getLogger("llmkit")
_FREE = {
    "card.description",
    "card.languages",
    "card.license",
    "tracking",
    "train.checks",
    "train.gradient_checkpointing",
    "train.keep_checkpoints",
    "train.lora.save",
    "train.micro_batch_tokens",
    "train.save_every",
}
"""Keys that do not change an update, except for the random numbers of dropout."""
_ROUNDED = {"train.gradient_checkpointing", "train.micro_batch_tokens"}
"""Those of them that change the order of summation."""
_PLAN = {"train.steps", "train.epochs", "train.warmup"}
"""Keys that may change if every completed step stays the same; see `check_plan`."""

_DAMAGED_DIGITS = 8
"""Of 64: two hashes of different content have four equal ones, on average."""


def check_recipe(old: Recipe, new: Recipe, *, run: Run) -> None:
    """Check that a resumed run's recipe differs only in keys that may change, and in the plan of its steps.

    Raises:
        RecipeError: other keys differ; the message lists each with its old and its new value.
    """
    before, after = dict(_leaves(old.model_dump())), dict(_leaves(new.model_dump()))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    refused = [key for key in changed if key not in _FREE]
    if "task" in refused:
        refused = ["task"]  # its other keys differ only for that reason
    if not _PLAN.issuperset(refused):
        listed = [f"{run.folder}: {key} was {_written(before, key)}, is now {_written(after, key)}" for key in refused]
        raise RecipeError([*listed, f"{run.folder}: only a new run can change this; start it without --resume."])
    for key in _ROUNDED.intersection(changed):
        logger.warning("%s differs: the updates are the same, but not bit for bit", key)


def check_manifest(run: Run, recipe: Recipe) -> None:
    """Check the keys of run.json that are written once and needed at the end.

    Raises:
        RunError: one is missing, or the task is not that of recipe.yaml.
    """
    manifest = run.manifest()
    missing = [key for key in ("task", "model") if not isinstance(manifest.get(key), str)]
    fault = f"{missing[0]} is missing" if missing else f"task is {manifest['task']!r}, recipe.yaml has {recipe.task!r}"
    if missing or manifest["task"] != recipe.task:
        raise RunError(f"{run.folder}/run.json: {fault}. Restore it from a copy, or start a new run.")


def is_replanned(old: Recipe, new: Recipe) -> bool:
    """Whether the number of steps or the warm-up has changed."""
    before, after = dict(_leaves(old.model_dump())), dict(_leaves(new.model_dump()))
    return any(before[key] != after[key] for key in _PLAN)


def check_plan(run: Run, *, old: Recipe, prepared: Prepared) -> None:
    """Check that a new plan has steps left and keeps the learning rate of every completed step.

    Args:
        old: the recipe of the run so far.
    Raises:
        RecipeError: it does not; the message gives the reason and what to do instead.
        RunError: a finished run has no checkpoint left to continue from.
    """
    from llmkit.training.checkpoints import progress_of

    if prepared.checkpoint is None:
        if run.manifest()["status"] == "finished":
            raise RunError(
                f"{run.folder} has no checkpoint to continue from. Start a new run with model: {run.folder}."
            )
        return
    progress, total = progress_of(prepared.checkpoint), prepared.plan.total_steps
    if total <= progress.step:
        raise RecipeError(
            f"{run.folder}: {progress.step:,} steps are done, and the recipe now asks for {total:,}. "
            f"Give more than {progress.step:,}, or do not change the number."
        )
    model = run.folder if run.model.is_dir() else prepared.checkpoint.folder
    advice = f"start a new run from this one with model: {model}"
    patience = old.evaluation.patience
    if patience is not None and progress.evaluations_since_best >= patience:
        raise RecipeError(
            f"{run.folder}: evaluation.patience: {patience} stopped it after step {progress.step:,}; it would not take "
            f"more steps. Instead, {advice}."
        )
    family, scratch = prepared.task.loaded.family, isinstance(old.model, ScratchModel)
    before = plan_training(old, examples=len(prepared.train), family=family, from_scratch=scratch)
    fault = _rate_fault(old, before, prepared.plan, steps_done=progress.step)
    if fault:
        raise RecipeError(f"{run.folder}: {fault}, or {advice}.")


def _rate_fault(old: Recipe, before: Plan, after: Plan, *, steps_done: int) -> str:
    """Why the completed steps would have been different, and what to do; empty if they would not."""
    schedule = old.train.schedule
    gap = widest_gap(before, after, schedule=schedule, steps_done=steps_done)
    if gap is None:
        return ""
    same_warmup = replace(after, warmup_steps=before.warmup_steps)
    if widest_gap(before, same_warmup, schedule=schedule, steps_done=steps_done) is None:
        cause = f"train.warmup would be {after.warmup_steps:,} steps instead of {before.warmup_steps:,}"
        advice = f"Keep the old warm-up with --set train.warmup={before.warmup_steps}"
    else:
        cause = f"train.schedule is {schedule}"
        advice = "Only a run with train.schedule: constant can be extended after its warm-up: train one from the start"
    return (
        f"{cause}: with {after.total_steps:,} steps, step {gap.step + 1:,} would have had learning rate "
        f"{gap.after:g} instead of {gap.before:g}. {advice}"
    )


def find_checkpoint(run: Run, *, keep: int, restart: bool) -> Checkpoint | None:
    """The latest complete checkpoint of a run; None if it never saved one, and training starts at step 0.

    Args:
        restart: start at step 0 although there are checkpoints, since all of them are damaged.
    Raises:
        RunError: all checkpoints are damaged or lost, and `restart` is false; or one is complete, and it is true.
    """
    from llmkit.training.checkpoints import CheckpointStore

    manifest = run.manifest()
    store = CheckpointStore(run.checkpoints, run_id=manifest["id"], keep=keep)
    checkpoint = store.resumable()
    if restart and checkpoint is not None:
        raise RunError(
            f"--restart: {checkpoint.folder} is complete. Continue from it without --restart, or start a new run."
        )
    if checkpoint is not None or restart:
        return checkpoint
    if store.published():
        names = ", ".join(folder.name for folder in store.published())
        raise RunError(
            f"{run.folder} has no checkpoint that can be used: {names} (the warnings say why). "
            "Restore one from a copy, or train again from step 0 with --restart, which keeps these files."
        )
    if not run.checkpoints.is_dir() and manifest["status"] != "finished":
        raise RunError(
            f"{run.folder} has lost its checkpoints. Restore the folder {run.checkpoints} from a copy, or train again "
            "from step 0 with --restart."
        )
    logger.warning("%s has no complete checkpoint; training starts again at step 0", run.folder)
    return None


def check_trained_recipe(run: Run, checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Check that recipe.yaml still has the values that the checkpoint was trained with.

    Labels are compared with data.json. Keys that only one of two versions of llmkit knows are not compared.

    Raises:
        RunError: lists each key with both values.
    """
    trained = checkpoint.manifest.get("recipe")
    if trained is None:  # of an older llmkit
        return
    before, now = dict(_leaves(trained)), dict(_leaves(recipe.model_dump(mode="json")))
    fixed = before.keys() & now.keys() - _FREE - _PLAN - {"labels"}
    changed = sorted(key for key in fixed if before[key] != now[key])
    if changed:
        listed = ", ".join(f"{key} is {_written(now, key)} instead of {_written(before, key)}" for key in changed)
        raise RunError(
            f"{run.recipe} has changed since {checkpoint.folder.name} was saved: {listed}. Restore it, or start a new run."
        )


def check_unchanged_plan(run: Run, prepared: Prepared) -> None:
    """Check that a run that is resumed without other settings still has its number of steps and learning rates.

    Raises:
        RunError: recipe.yaml gives another number of steps than run.json.
        RecipeError: as `check_plan`.
    """
    manifest, steps = run.manifest(), prepared.plan.total_steps
    # A kill may have come between the writing of run.json and that of a recipe with more steps.
    allowed = {manifest.get("total_steps"), *(entry.get("from") for entry in manifest.get("replanned", ())[-1:])}
    if steps not in allowed and manifest.get("total_steps") is not None:
        raise RunError(
            f"{run.folder}: recipe.yaml gives {steps:,} steps, and run.json has total_steps: "
            f"{manifest['total_steps']:,}. Restore the file that has changed, or start a new run."
        )
    trained = None if prepared.checkpoint is None else prepared.checkpoint.manifest.get("recipe")
    if trained is not None:
        old = type(prepared.recipe).model_validate_json(
            json.dumps({**prepared.recipe.model_dump(mode="json"), **trained})
        )
        if is_replanned(old, prepared.recipe):
            check_plan(run, old=old, prepared=prepared)


def check_data(run: Run, now: Mapping[str, Any]) -> None:
    """Check that a resumed run has the same data, labels and tokenizer.

    Raises:
        DataError: one of them changed; the message names it.
    """
    before = check_sources(run, now["sources"])
    for key in ("sources", "shares", "clusters", "labels", "bad_rows", "tokenization_sha256"):
        # Older runs lack some; their tokenizer comes from a checkpoint, whose bytes were verified.
        if key in before and before[key] != now.get(key):
            raise DataError(f"{key} differs from {run.folder}/data.json. Start a new run without --resume.")


def check_sources(run: Run, now: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the tables of some splits with those in data.json, which is returned.

    Raises:
        DataError: names the first table that changed, with both hashes.
    """
    before = read_checked(run.folder / "data.json", DataManifest)
    for split, tables in now.items():
        saved_tables = before["sources"].get(split, [])
        for old, new in zip(saved_tables, tables, strict=False):
            if old != new and _are_nearly_equal(old.get("sha256"), new.get("sha256")):
                raise DataError(
                    f"{run.folder}/data.json: its entry for {new.get('name')} differs from this table. Restore the file, or "
                    "start a new run."
                )
            if old != new:
                raise DataError(
                    f"{old.get('name')} has changed since {run.folder} started: sha256 {str(old.get('sha256'))[:12]} then, "
                    f"{str(new.get('sha256'))[:12]} now. Restore the old content, or start a new run."
                )
        if len(saved_tables) != len(tables):
            raise DataError(
                f"data.{split} names {len(tables):,} tables now, and {len(saved_tables):,} when {run.folder} started. "
                "Restore the old sources, or start a new run."
            )
    return before


def warn_of_environment(run: Run, now: Mapping[str, Any]) -> None:
    """Warn that the run will not be bit-identical if what env.json records differs, such as versions or threads."""
    try:
        before = read_json(run.folder / "env.json")
    except RunError as error:
        logger.warning("%s Whether the environment is the same is unknown.", error)
        return
    differs = sorted(key for key in now if before.get(key) != now[key])
    if differs:
        logger.warning(
            "not bit-identical to an uninterrupted run: %s differ from %s/env.json", ", ".join(differs), run.folder
        )


def _are_nearly_equal(before: object, now: object) -> bool:
    """Whether a saved hash was the one of now, before it was damaged; those of other content differ in most places."""
    if not isinstance(now, str):  # a data set of the hub, which has a commit instead
        return False
    if not isinstance(before, str) or len(before) != len(now):
        return True
    return sum(old != new for old, new in zip(before, now, strict=True)) <= _DAMAGED_DIGITS


def _written(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return "not set" if value is None else repr(value)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner

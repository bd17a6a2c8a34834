"""What may change between a run and its continuation, and what may not."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.errors import DataError, RecipeError, RunError
from llmkit.recipe.blocks import Recipe, ScratchModel
from llmkit.runs.folder import Run, read_json

if TYPE_CHECKING:
    from llmkit.training.checkpoints import Checkpoint
    from llmkit.training.prepared import Prepared
    from llmkit.training.schedule import Plan

_log = logging.getLogger("llmkit")
_FREE = {
    "train.checks",
    "train.gradient_checkpointing",
    "train.keep_checkpoints",
    "train.lora.save",
    "train.micro_batch_tokens",
    "train.save_every",
}
"""None of them changes an update, dropout's draws aside."""
_ROUNDED = {"train.gradient_checkpointing", "train.micro_batch_tokens"}
"""Of these, those that sum in another order."""
_PLAN = {"train.steps", "train.epochs", "train.warmup"}
"""They may change where no step already done would have gone otherwise: `check_plan` tells."""


def check_recipe(kept: Recipe, wanted: Recipe, *, run: Run) -> None:
    """Refuse a continuation whose recipe differs in what matters; the plan of its steps alone may differ.

    Raises:
        RecipeError: every such key, with its old and its new value.
    """
    before, after = dict(_leaves(kept.model_dump())), dict(_leaves(wanted.model_dump()))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    refused = [key for key in changed if key not in _FREE]
    if "task" in refused:
        refused = ["task"]  # its other keys differ for that reason alone
    if not _PLAN.issuperset(refused):
        listed = [f"{run.folder}: {key} was {_told(before, key)}, is now {_told(after, key)}" for key in refused]
        raise RecipeError([*listed, f"{run.folder}: only a new run can change this; start it without --resume."])
    for key in _ROUNDED.intersection(changed):
        _log.warning("%s differs: the updates stay the same, but not bit for bit", key)


def is_replanned(kept: Recipe, wanted: Recipe) -> bool:
    """Whether the number of steps or the warm-up is given otherwise."""
    before, after = dict(_leaves(kept.model_dump())), dict(_leaves(wanted.model_dump()))
    return any(before[key] != after[key] for key in _PLAN)


def check_plan(run: Run, *, kept: Recipe, prepared: Prepared) -> None:
    """Refuse another plan if it leaves nothing to do, or gives a step already done another learning rate.

    Args:
        kept: the recipe that was trained so far.
    Raises:
        RecipeError: says why, and what to do instead.
        RunError: a finished run has no checkpoint left to go on from.
    """
    from llmkit.training.checkpoints import progress_of
    from llmkit.training.schedule import plan_training

    if prepared.checkpoint is None:
        if run.manifest()["status"] == "finished":
            raise RunError(f"{run.folder} has no checkpoint to go on from. Start a new run with model: {run.folder}.")
        return
    progress, total = progress_of(prepared.checkpoint), prepared.plan.total_steps
    if total <= progress.step:
        raise RecipeError(
            f"{run.folder}: {progress.step:,} steps are done, and the recipe now asks for {total:,}. "
            f"Give more than {progress.step:,}, or leave the number as it was."
        )
    model = run.folder if run.model.is_dir() else prepared.checkpoint.folder
    start_anew = f"start a new run from this one with model: {model}"
    patience = kept.evaluation.patience
    if patience is not None and progress.evaluations_since_best >= patience:
        raise RecipeError(
            f"{run.folder}: evaluation.patience: {patience} ended it after step {progress.step:,}; more steps would "
            f"not be taken. Instead, {start_anew}."
        )
    family, scratch = prepared.task.loaded.family, isinstance(kept.model, ScratchModel)
    before = plan_training(kept, examples=len(prepared.train), family=family, from_scratch=scratch)
    fault = _rate_fault(kept, before, prepared.plan, steps_done=progress.step)
    if fault:
        raise RecipeError(f"{run.folder}: {fault}, or {start_anew}.")


def _rate_fault(kept: Recipe, before: Plan, after: Plan, *, steps_done: int) -> str:
    """Why the steps done would have gone otherwise, and what would help; nothing if they would not."""
    from llmkit.training.schedule import widest_gap

    schedule = kept.train.schedule
    gap = widest_gap(before, after, schedule=schedule, steps_done=steps_done)
    if gap is None:
        return ""
    same_warmup = replace(after, warmup_steps=before.warmup_steps)
    if widest_gap(before, same_warmup, schedule=schedule, steps_done=steps_done) is None:
        cause = f"train.warmup would be {after.warmup_steps:,} steps in place of {before.warmup_steps:,}"
        advice = f"Keep the warm-up as it was with --set train.warmup={before.warmup_steps}"
    else:
        cause = f"train.schedule is {schedule}"
        advice = (
            "Only a run with train.schedule: constant can be lengthened after its warm-up: train one from the start"
        )
    return (
        f"{cause}: with {after.total_steps:,} steps, step {gap.step + 1:,} would have had learning rate "
        f"{gap.after:g} in place of {gap.before:g}. {advice}"
    )


def find_checkpoint(run: Run, *, keep: int) -> Checkpoint | None:
    """The newest whole checkpoint of a run; without one, training starts again."""
    from llmkit.training.checkpoints import CheckpointStore

    found = CheckpointStore(run.checkpoints, run_id=run.manifest()["id"], keep=keep).newest()
    if found is None:
        _log.warning("%s has no complete checkpoint; training starts again at step 0", run.folder)
    return found


def check_data(run: Run, now: Mapping[str, Any]) -> None:
    """Refuse a continuation on other data, labels or tokenizer.

    Raises:
        DataError: names what changed.
    """
    before = check_sources(run, now["sources"])
    for key in ("sources", "shares", "labels", "tokenization_sha256"):
        # Older runs lack the last; their tokenizer comes from a checkpoint, whose bytes were verified.
        if key in before and before[key] != now[key]:
            raise DataError(f"{key} differs from {run.folder}/data.json. Start a new run without --resume.")


def check_sources(run: Run, now: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the tables of some splits with those in data.json, which is returned.

    Raises:
        DataError: names the first table that changed, with both hashes.
    """
    before = read_json(run.folder / "data.json")
    for split, tables in now.items():
        kept = before["sources"].get(split, [])
        for old, new in zip(kept, tables, strict=False):
            if old != new:
                raise DataError(
                    f"{old['name']} has changed since {run.folder} began: sha256 {str(old.get('sha256'))[:12]} then, "
                    f"{str(new.get('sha256'))[:12]} now. Put the old content back, or start a new run."
                )
        if len(kept) != len(tables):
            raise DataError(
                f"data.{split} names {len(tables):,} tables now, and {len(kept):,} when {run.folder} began. Put back "
                "what was there, or start a new run."
            )
    return before


def warn_of_environment(run: Run, now: Mapping[str, Any]) -> None:
    """Withdraw the promise of bit-identity where versions, device or processes differ."""
    before = read_json(run.folder / "env.json")
    differs = sorted(key for key in now if before.get(key) != now[key])
    if differs:
        _log.warning(
            "not bit-identical to an uninterrupted run: %s differ from %s/env.json", ", ".join(differs), run.folder
        )


def _told(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return "not set" if value is None else repr(value)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            yield from _leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner

"""`reproduce`: a finished run is trained again from its own records, and its weights are compared bit for bit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.api.training import Begun, Report, finetune
from llmkit.errors import DataError, RunError
from llmkit.recipe.blocks import ScratchModel
from llmkit.recipe.loading import load_recipe
from llmkit.runs.differences import Difference, differences, first_metric
from llmkit.runs.folder import Run, open_run
from llmkit.runs.saved_json import read_json
from llmkit.tasks import RECIPES
from llmkit.tasks.base import TaskRecipe
from llmkit.training.progress import Event
from llmkit.training.resume import check_manifest, check_sources, check_trained_recipe
from llmkit.training.splits import open_splits

if TYPE_CHECKING:
    from llmkit.models.differences import WeightDifferences

logger = logging.getLogger("llmkit")
_FIXES: Mapping[str, str] = {"threads": "OMP_NUM_THREADS={}", "world_size": "--processes {}"}
"""Key of env.json -> how to give it its old value."""


@dataclass(frozen=True)
class Reproduction:
    """The comparison of a run with another run of its recipe."""

    run: Path
    reproduced: Path
    identical: bool
    """Whether all weights are the same, bit for bit."""
    compared: str
    """What was compared: `model`, or a checkpoint."""
    weights: WeightDifferences
    differences: tuple[Difference, ...]
    """All of environment, data and recipe, then the first of the metrics."""


def reproduce(
    run: str | Path,
    *,
    into: str | Path | None = None,
    compare_with: str | Path | None = None,
    allow_changed_data: bool = False,
    report: Report = lambda event: None,
) -> Reproduction | None:
    """Train a finished run again, and compare the weights.

    Args:
        run: its folder.
        into: the folder of the new run; without it, a free name beside the run, such as `runs/a-reproduced-001`.
        compare_with: a finished run to compare with, instead of training one.
        allow_changed_data: go on if the rows are not those of data.json.
        report: called with each event of the training.
    Returns:
        None on all processes but the first.
    Raises:
        RunError: the run is not finished, or damaged.
        DataError: the rows have changed.
        LlmkitError: whatever else a training raises.
    """
    original = _finished_run(run)
    if compare_with is not None:
        return compare_runs(original, _finished_run(compare_with))
    recipe = load_recipe(original.recipe, kinds=RECIPES).recipe
    check_manifest(original, recipe)
    _check_recipe(original, recipe)
    _check_data(original, recipe, allow_changed=allow_changed_data)

    def watch(event: Event | Begun) -> None:
        if isinstance(event, Begun):
            _warn_of_environment(original, event.run)
        report(event)

    finished = finetune(
        original.recipe, overrides=_pinned(original, recipe), run=into or _free_folder(original), report=watch
    )
    return None if finished is None else compare_runs(original, finished.run)


def compare_runs(before: Run, after: Run) -> Reproduction:
    """Compare what two finished runs depended on, their metrics, and their weights."""
    from llmkit.models.differences import weight_differences

    old, new = before.manifest(), after.manifest()
    found = [
        *differences("environment", _records(before, "env.json"), _records(after, "env.json")),
        *differences("data", _records(before, "data.json"), _records(after, "data.json")),
        *_recipe_differences(before, after),
    ]
    extended = frozenset(entry["from"] for entry in old.get("replanned", ()) if isinstance(entry.get("from"), int))
    metric = first_metric(before.metrics(), after.metrics(), not_evaluated=extended)
    compared = "model"
    if extended and old["best"]["step"] != new["best"]["step"]:
        # The extended run was also evaluated at its old end, so its best model may be that of a step of its own.
        last = f"checkpoints/step-{old['total_steps']:08d}"
        compared = last if all((one.folder / last).is_dir() for one in (before, after)) else compared
    weights = weight_differences(before.folder / compared, after.folder / compared)
    return Reproduction(
        run=before.folder,
        reproduced=after.folder,
        identical=not weights.different,
        compared=compared,
        weights=weights,
        differences=(*found, *([] if metric is None else [metric])),
    )


def _finished_run(folder: str | Path) -> Run:
    """
    Raises:
        RunError: it is not finished, or has lost its model.
    """
    run = open_run(folder)
    status = run.manifest()["status"]
    if status != "finished":
        raise RunError(
            f"{run.folder} is {status}, not finished. Complete it first: llmkit finetune --resume {run.folder}"
        )
    if not run.model.is_dir():
        raise RunError(f"{run.model} is missing, so there are no weights to compare with. Restore it from a copy.")
    return run


def _check_recipe(run: Run, recipe: TaskRecipe) -> None:
    """Check that recipe.yaml is the recipe that the newest checkpoint was trained with."""
    from llmkit.training.checkpoints import CheckpointStore

    newest = CheckpointStore(run.checkpoints, run_id=run.manifest()["id"], keep=recipe.train.keep_checkpoints).newest()
    if newest is not None:
        check_trained_recipe(run, newest, recipe)


def _check_data(run: Run, recipe: TaskRecipe, *, allow_changed: bool) -> None:
    """
    Raises:
        DataError: the rows are others than those of the run, unless that is allowed.
    """
    now: dict[str, Any] = {name: rows.source.fingerprint() for name, rows in open_splits(recipe).items()}
    try:
        check_sources(run, now)
    except DataError as error:
        if not allow_changed:
            raise DataError(f"{error} Or train on the new content with --allow-changed-data.") from error
        logger.warning("%s", error)


def _warn_of_environment(before: Run, after: Run) -> None:
    found = list(differences("environment", _records(before, "env.json"), _records(after, "env.json")))
    for difference in found:
        fix = _FIXES.get(difference.key, "").format(difference.before)
        advice = f" (to have it again: {fix})" if fix else ""
        logger.warning("environment: %s was %s, is %s%s", difference.key, difference.before, difference.after, advice)
    if found:
        logger.warning("the weights may differ: in another environment they are not promised to be the same")
    tokens = before.manifest().get("micro_batch_tokens")
    if tokens is not None:
        logger.warning("%s ran out of memory in a step, and halved its micro-batches; this run may not", before.folder)


def _pinned(run: Run, recipe: TaskRecipe) -> list[str]:
    """Overrides for what the recipe leaves open and the run has recorded: the commit of a hub model."""
    revision = run.manifest().get("model_revision")
    if isinstance(recipe.model, ScratchModel) or recipe.revision is not None or not isinstance(revision, str):
        return []
    return [f"revision={revision}"]


def _recipe_differences(before: Run, after: Run) -> list[Difference]:
    """Keys with other values, except for the commit of a model that the first run has found itself."""
    recipes = [load_recipe(run.recipe, kinds=RECIPES).recipe.model_dump(mode="json") for run in (before, after)]
    revision = before.manifest().get("model_revision")
    return [
        difference
        for difference in differences("recipe", *recipes)
        if not (difference.key == "revision" and difference.before is None and difference.after == revision)
    ]


def _records(run: Run, name: str) -> dict[str, Any]:
    try:
        return read_json(run.folder / name)
    except RunError as error:
        logger.warning("%s", error)
        return {}


def _free_folder(run: Run) -> Path:
    folder = run.folder
    names = (folder.with_name(f"{folder.resolve().name}-reproduced-{number:03d}") for number in count(1))
    return next(path for path in names if not path.exists())

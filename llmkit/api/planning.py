"""`plan`: what a training will do and need, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.data.given import given_names
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES
from llmkit.training.metric_checks import check_metrics
from llmkit.training.row_checks import check_rows
from llmkit.training.splits import open_splits

if TYPE_CHECKING:
    from llmkit.planning.planned import RunPlan


def plan(
    recipe: str | Path, *, overrides: Sequence[str] = (), measure: bool = False, folder: str | Path = "runs"
) -> RunPlan:
    """Plan the training of a recipe: its values, rows, steps, memory, disk and time, and whether it fits.

    The rows are read, checked and encoded as training does, and stay in the caches; no weights are loaded or
    downloaded.

    Args:
        overrides: `a.b=value` each.
        measure: time a few steps, an evaluation and a save, with random weights of the same model.
        folder: where the run will be.
    Raises:
        LlmkitError: whatever a training would raise before its first step.
    """
    loaded = load_recipe(recipe, kinds=RECIPES, overrides=given_names(overrides, what="overrides"))
    check_metrics(loaded.recipe)
    splits = open_splits(loaded.recipe)
    labels = check_rows(loaded.recipe, splits)
    from llmkit.planning.plan import make_plan  # torch, after errors in rows

    return make_plan(loaded, str(recipe), splits, labels=labels, measure=measure, folder=Path(folder))

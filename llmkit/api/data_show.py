"""`show_data`: examples of a recipe as the model gets them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.data.given import given_names
from llmkit.errors import UsageError
from llmkit.recipe.loading import load_recipe
from llmkit.tasks import RECIPES
from llmkit.training.row_checks import check_sources_with_labels
from llmkit.training.splits import Split, open_splits

if TYPE_CHECKING:
    from llmkit.inspection.shown import ShownExample


def show_data(
    recipe: str | Path,
    *,
    count: int = 3,
    split: Split = "train",
    row: int | None = None,
    overrides: Sequence[str] = (),
) -> list[ShownExample]:
    """The first examples of a split, encoded and collated by the task itself, without the model's weights. Of a training
    split, what is hidden is that of the first epoch.

    Args:
        count: rows, or blocks of running text.
        row: only this one, from 1.
        overrides: `a.b=value` each.
    Raises:
        UsageError: the recipe has no such split, or the split has no such row.
        LlmkitError: as `finetune`, for the recipe, its data and its tokenizer.
    """
    loaded = load_recipe(recipe, kinds=RECIPES, overrides=given_names(overrides, what="overrides")).recipe
    splits = open_splits(loaded)
    if split not in splits:
        raise UsageError(f"--split {split}: the recipe has {', '.join(splits)}.")
    if row is not None and row < 1:
        raise UsageError(f"--row {row}: rows are counted from 1.")
    labels = loaded.class_names(splits["train"].whole().without_bad_rows())
    check_sources_with_labels(loaded, splits, labels=labels)
    from llmkit.inspection.examples import shown_blocks, shown_rows
    from llmkit.planning.unweighted import unweighted_task

    usable = {name: rows.without_bad_rows() for name, rows in splits.items()}
    task = unweighted_task(loaded, usable["train"], labels=labels, characters=0).task
    show = shown_blocks if loaded.PRETRAINS else shown_rows
    first, count = (0, count) if row is None else (row - 1, 1)
    return show(task, usable[split], first=first, count=count, epoch=0 if split == "train" else None)

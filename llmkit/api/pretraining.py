"""`pretrain`: `finetune` for the tasks that need nothing but text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmkit.api.training import Finetuned, Report, finetune
from llmkit.data.given import given_names
from llmkit.errors import UsageError
from llmkit.recipe.loading import load_recipe
from llmkit.runs.folder import open_run
from llmkit.tasks import PRETRAINING, RECIPES


def pretrain(
    recipe: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    run: str | Path | None = None,
    resume: str | Path | None = None,
    restart: bool = False,
    report: Report = lambda event: None,
) -> Finetuned | None:
    """Train a language model on raw text; arguments, result and errors as `finetune`.

    Raises:
        UsageError: the recipe's task learns from labelled rows.
    """
    if recipe is not None or resume is not None:
        file = open_run(str(resume)).recipe if recipe is None else recipe
        overrides = given_names(overrides, what="overrides")
        task = load_recipe(file, kinds=RECIPES, overrides=overrides).recipe.task
        if task not in PRETRAINING:
            raise UsageError(
                f"{file}: {task} learns from pairs of text and answer; `llmkit finetune` trains it. "
                f"pretrain needs nothing but text: {', '.join(PRETRAINING)}."
            )
    return finetune(recipe, overrides=overrides, run=run, resume=resume, restart=restart, report=report)

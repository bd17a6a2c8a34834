"""The model of `evaluate`: opened, with its task and its scores. Imports torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from llmkit.api.evaluation_rows import find_run
from llmkit.api.verbs import USES, verb_of_model
from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.errors import ModelError, UsageError
from llmkit.evaluation.measure import Measured, measure
from llmkit.evaluation.metrics import RougeTokenizer
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.families import Head
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.models.resolve import find_model
from llmkit.recipe.loading import load_recipe
from llmkit.runs.folder import Run
from llmkit.tasks import RECIPES
from llmkit.tasks.base import Task, TaskRecipe
from llmkit.tasks.build import build_task
from llmkit.tasks.of_model import recipe_of_model
from llmkit.training.accelerator import new_accelerator

logger = logging.getLogger("llmkit")


def open_model(model: str | None, *, data: Sequence[str] | None) -> tuple[Run | None, TaskRecipe, LoadedModel]:
    """A run with its recipe and model, or a model that is not a run with the recipe that its configs imply."""
    run = find_run(model)
    if run is not None:
        recipe = load_recipe(run.recipe, kinds=RECIPES).recipe
        return run, _as_used(recipe), load_model(str(run.folder), head=recipe.HEAD)
    head = _head_of(str(model))
    loaded = load_model(str(model), head=head)
    if not data:
        raise UsageError(f"{loaded.name} is not a run, so it has no rows to measure on. Give --data.")
    return None, _as_used(recipe_of_model(loaded, head=head, data=data)), loaded


def _as_used(recipe: TaskRecipe) -> TaskRecipe:
    """The recipe with what its command does with long rows: scores are those of the results that users get."""
    overflow = recipe.overflow_in_use
    if overflow is None:
        return recipe
    logger.info("overflow: %s, as `llmkit %s` does, in place of the recipe's", overflow, recipe.VERB)
    return recipe.model_copy(update={"overflow": overflow})


def _head_of(name: str) -> Head:
    """
    Raises:
        ModelError: it has none.
    """
    verb = verb_of_model(find_model(name).config)
    if verb == "embed":
        raise ModelError(f"{name} gives only vectors. Measure them with --metric neighbour_recall.")
    return USES[verb].head


def encode_rows(recipe: TaskRecipe, loaded: LoadedModel, rows: Iterable[Row]) -> tuple[Task, Examples]:
    task = build_task(recipe, loaded)
    return task, task.encode_every(rows)


def measure_examples(
    task: Task,
    examples: Examples,
    *,
    metrics: Sequence[str],
    rouge_tokenizer: RougeTokenizer,
    report: Callable[[str, int, int], None],
) -> Measured:
    accelerator = new_accelerator()
    return measure(
        task,
        examples,
        engine=TransformersEngine(task.loaded, device=accelerator.device, report=partial(report, "predictions")),
        accelerator=accelerator,
        metrics=metrics,
        rouge_tokenizer=rouge_tokenizer,
        report=partial(report, "losses"),
    )

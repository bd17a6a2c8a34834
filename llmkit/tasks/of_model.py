"""A recipe for a model that is not a run: the task that fits its head, with the keys that its configs give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from llmkit.errors import ModelError
from llmkit.models.families import VERBS
from llmkit.tasks import RECIPES

if TYPE_CHECKING:
    from llmkit.models.families import Head
    from llmkit.models.loaded import LoadedModel
    from llmkit.tasks.base import TaskRecipe


def recipe_of_model(loaded: LoadedModel, *, head: Head, data: Sequence[str]) -> TaskRecipe:
    """The task's defaults, and the keys that the model's configs give, so that it is evaluated as its verb uses it.

    Args:
        head: the head that the model was loaded with.
        data: value of `data.train` in the recipe.
    Raises:
        ModelError: the configs have a value that no training writes.
        UsageError: a translator of several languages, whose configs choose none.
    """
    candidates = {task: recipe_class for task, recipe_class in RECIPES.items() if head == recipe_class.HEAD}
    trained = (task for task, recipe_class in candidates.items() if recipe_class.has_trained(loaded))
    verb = "translate" if loaded.family.translates else VERBS[head]
    task = next(trained, None) or next(task for task, recipe_class in candidates.items() if verb == recipe_class.VERB)
    keys: dict[str, Any] = {"recipe": 1, "task": task, "model": loaded.name, "data": {"train": list(data)}}
    try:
        return candidates[task].model_validate({**keys, **candidates[task].keys_of_model(loaded)})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        entry = f"{key} {first['input']!r:.40}: " if key else ""
        raise ModelError(f"{loaded.name}: its configs say {entry}{first['msg']}.") from error

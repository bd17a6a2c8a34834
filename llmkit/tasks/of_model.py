"""The recipe of a model that is no run: the task that fits its head, and what its configs say."""

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
    """The task's defaults, and the keys that the model's configs give, so that it is measured as its verb uses it.

    Args:
        head: the one it was opened with.
        data: stands in the recipe's `data.train`.
    Raises:
        ModelError: the configs have a value that no training writes.
    """
    fitting = {task: kind for task, kind in RECIPES.items() if head == kind.HEAD}
    trained = (task for task, kind in fitting.items() if kind.has_trained(loaded))
    task = next(trained, None) or next(task for task, kind in fitting.items() if VERBS[head] == kind.VERB)
    keys: dict[str, Any] = {"recipe": 1, "task": task, "model": loaded.name, "data": {"train": list(data)}}
    try:
        return fitting[task].model_validate({**keys, **fitting[task].keys_of_model(loaded)})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        place = f"{key} {first['input']!r:.40}: " if key else ""
        raise ModelError(f"{loaded.name}: its configs say {place}{first['msg']}.") from error

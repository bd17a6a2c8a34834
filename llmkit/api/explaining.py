"""`explain`: what the keys of recipes mean. Imports no model library."""

from __future__ import annotations

from llmkit.errors import UsageError
from llmkit.recipe.explaining import Explanation, explain_key, explain_keys
from llmkit.tasks import RECIPES


def explain(key: str | None = None) -> list[Explanation]:
    """The explanations of a recipe's key such as `train.schedule`, or of all keys.

    A key that tasks define differently has several.

    Raises:
        UsageError: there is no such key; the message names the nearest.
    """
    if key is None:
        return explain_keys(RECIPES)
    if not isinstance(key, str):
        raise UsageError(f"explain: expected the name of a key, such as 'train.schedule', found {key!r:.60}.")
    return explain_key(key, RECIPES)

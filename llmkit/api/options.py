"""Generation options and the schema of recipes, which need no model. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from llmkit.errors import UsageError
from llmkit.recipe.generation import GenerationBlock
from llmkit.recipe.loading import recipe_schema
from llmkit.tasks import RECIPES

_HINTS = {
    "--temperature": " For greedy search remove it, or give --beams 1 if the model samples by default.",
    "--top-k": " To sample from all tokens, remove it and give --temperature, such as 1; for greedy search give 1.",
    "--top-p": " To sample from all tokens give 1.",
}
"""What to do instead, by option."""


def generation_options(values: Mapping[str, Any]) -> GenerationBlock:
    """The options that are not None, checked.

    Raises:
        UsageError: one outside its range, with the range.
    """
    try:
        return GenerationBlock.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        fault = error.errors()[0]
        message = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            raise UsageError(f"{message}.") from error
        option = "--" + str(fault["loc"][0]).replace("_", "-")
        hint = _HINTS.get(option, "")
        raise UsageError(f"{option} {fault['input']}: {message[0].lower()}{message[1:]}.{hint}") from error


def schema() -> dict[str, Any]:
    """JSON Schema of recipes."""
    return recipe_schema(RECIPES)

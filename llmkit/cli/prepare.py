"""`llmkit schema`."""

from __future__ import annotations

import json


def schema() -> None:
    """Print the JSON Schema of recipes, for use in an editor."""
    from llmkit.api import schema as schema_of_recipes

    print(json.dumps(schema_of_recipes(), indent=2))


COMMANDS = (schema,)

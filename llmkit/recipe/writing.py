"""A complete recipe -> canonical YAML: every key of the schema, in its order, one per line."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.recipe.nodes import printable
from llmkit.recipe.recipe import Recipe
from llmkit.recipe.scalars import write_scalar


def dump_recipe(recipe: Recipe, *, header: str = "") -> str:
    """YAML with every value resolved, which `load_recipe` turns back into an equal recipe.

    Args:
        header: text for a comment above the first key.
    """
    comments = "".join(f"# {printable(line)}".rstrip() + "\n" for line in header.splitlines())
    return comments + _mapping(recipe.model_dump(), indent="")


def _mapping(mapping: Mapping[str, object], *, indent: str) -> str:
    return "".join(f"{indent}{write_scalar(key)}:{_value(value, indent=indent)}" for key, value in mapping.items())


def _value(value: object, *, indent: str) -> str:
    deeper = indent + "  "
    match value:
        case dict() if value:
            return "\n" + _mapping(value, indent=deeper)
        case dict():
            return " {}\n"
        case list() | tuple() if value:
            return "\n" + "".join(f"{deeper}-{_value(item, indent=deeper)}" for item in value)
        case list() | tuple():
            return " []\n"
        case None | str() | int() | float():
            return f" {write_scalar(value)}\n"
    raise AssertionError(f"the schema has no values of {type(value)}")


def dump_value(mapping: Mapping[str, object]) -> str:
    """Lines of a recipe with these keys and values."""
    return _mapping(mapping, indent="")

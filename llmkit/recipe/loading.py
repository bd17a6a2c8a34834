"""Recipe file, and what it extends, and `--set` -> one complete, frozen recipe, or all its problems at once.

Knows the language, not the tasks: the recipe class of each task is an argument. Imports nothing heavy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic.json_schema import models_json_schema

from llmkit.errors import RecipeError, nearest
from llmkit.recipe.documentation import DocumentedSchema
from llmkit.recipe.expectations import listed
from llmkit.recipe.files import read_chain
from llmkit.recipe.nodes import BROKEN, RIVALS, Node, Problem, child_of, describe_value, leaves, merge, plain
from llmkit.recipe.overrides import override_place, read_overrides
from llmkit.recipe.problems import problems_of
from llmkit.recipe.recipe import Recipe
from llmkit.recipe.writing import dump_recipe

__all__ = ["LoadedRecipe", "dump_recipe", "load_recipe", "recipe_schema"]


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


@dataclass(frozen=True)
class LoadedRecipe(Generic[AnyRecipe]):
    recipe: AnyRecipe
    """Complete: keys that no file sets have the schema's defaults."""
    origins: Mapping[str, str]
    """Dotted key -> `file:line:column` or `--set`; a missing key has the schema's default."""


def load_recipe(
    path: str | Path, *, kinds: Mapping[str, type[AnyRecipe]], overrides: Sequence[str] = ()
) -> LoadedRecipe[AnyRecipe]:
    """Read, merge and check a recipe.

    Args:
        path: the file; messages use this path.
        kinds: task -> the recipe class that fixes it.
        overrides: `a.b=value` each, the value in YAML; applied after the file and everything that it extends.
    Raises:
        RecipeError: all problems, in the order of the file, its parents and the overrides.
    """
    chain, problems = read_chain(os.fspath(path))
    changes, more = read_overrides(overrides)
    problems += more
    if not chain:
        raise _refusal(problems)
    written = reduce(lambda parent, child: merge(parent, child, rivals=RIVALS), reversed([changes, *chain]))
    recipe, more = _validated(written, kinds)
    problems += more
    # A valid recipe can still have problems in parts that the schema never sees, such as a key that is not text.
    if recipe is None or problems:
        sources = [node.place.source for node in chain] + [override_place(text).source for text in overrides]
        raise _refusal(sorted(problems, key=lambda problem: _rank(problem, sources)))
    return LoadedRecipe(recipe, {key: _origin(node) for key, node in leaves(written)})


def recipe_schema(kinds: Mapping[str, type[Recipe]]) -> dict[str, Any]:
    """JSON Schema 2020-12 of every task's recipe, with `task` as discriminator, for editors.

    A recipe with `extends` needs no other key than its task.
    """
    references, schema = models_json_schema(
        [(kind, "validation") for kind in kinds.values()],
        title="llmkit recipe",
        ref_template="#/$defs/{model}",
        schema_generator=DocumentedSchema,
    )
    targets = {task: references[kind, "validation"]["$ref"] for task, kind in kinds.items()}
    for target in targets.values():
        _allow_extends(schema["$defs"][target.rpartition("/")[2]])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "type": "object",
        "discriminator": {"propertyName": "task", "mapping": targets},
        "oneOf": [{"$ref": target} for target in targets.values()],
    }


def _allow_extends(definition: dict[str, Any]) -> None:
    about = "Another recipe to start from, relative to this file; the keys given here override its keys."
    definition["properties"]["extends"] = {"type": "string", "description": about}
    definition["anyOf"] = [{"required": ["extends"]}, {"required": definition["required"]}]
    definition["required"] = ["task"]


def _validated(written: Node, kinds: Mapping[str, type[AnyRecipe]]) -> tuple[AnyRecipe | None, list[Problem]]:
    kind, task_problems = _kind_of(written, kinds)
    if kind is None:
        return None, task_problems
    try:
        return kind.model_validate(plain(written)), []
    except ValidationError as error:
        return None, problems_of(error, root=written, kind=kind)


def _kind_of(written: Node, kinds: Mapping[str, type[AnyRecipe]]) -> tuple[type[AnyRecipe] | None, list[Problem]]:
    task = child_of(written, "task")
    allowed = listed(list(kinds))
    if task is None:
        return None, [Problem(written.place, ("task",), f"missing key. Expected {allowed}")]
    if isinstance(task.value, str) and task.value in kinds:
        return kinds[task.value], []
    if task.value is BROKEN:
        return None, []
    hint = nearest(task.value, kinds) if isinstance(task.value, str) else ""
    return None, [Problem(task.place, ("task",), f"expected {allowed}, found {describe_value(task)}.{hint}")]


def _rank(problem: Problem, sources: list[str]) -> tuple[int, int, int]:
    return sources.index(problem.place.source), problem.place.line, problem.place.column


def _origin(node: Node) -> str:
    return str(node.place) if node.place.line else "--set"


def _refusal(problems: Iterable[Problem]) -> RecipeError:
    return RecipeError([str(problem) for problem in problems])

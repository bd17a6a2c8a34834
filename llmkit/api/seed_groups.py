"""Runs that differ only in their seed, which `compare` takes as one system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import UsageError
from llmkit.recipe.loading import load_recipe
from llmkit.runs.folder import Run
from llmkit.tasks import RECIPES


def named_groups(systems: Sequence[str]) -> list[list[str]]:
    """The members of each system: `runs/a-1,runs/a-2` names two."""
    groups = []
    for text in systems:
        names = [text] if Path(text).exists() else [name.strip() for name in text.split(",")]
        if not all(names):
            raise UsageError(f"{text}: a name is missing beside a comma. Write runs/a-1,runs/a-2.")
        groups.append(names)
    every = [name for group in groups for name in group]
    if len(set(every)) < len(every):
        repeated = next(name for name in every if every.count(name) > 1)
        raise UsageError(f"{repeated} is given twice. Compare different runs or files.")
    return groups


def check_seeds(runs: Sequence[Run]) -> None:
    """
    Raises:
        UsageError: the runs of a group differ in more than their seed.
    """
    first = _without_seeds(runs[0])
    for run in runs[1:]:
        other = _without_seeds(run)
        different = sorted(key for key in first.keys() | other.keys() if first.get(key) != other.get(key))
        if different:
            raise UsageError(
                f"{runs[0].folder} and {run.folder} differ in {', '.join(different[:5])}. Runs joined by a comma are seeds "
                "of one recipe; give others as arguments of their own."
            )


def with_equal_recipes(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs in groups that differ only in their seed; each alone if that would leave a single group."""
    groups: list[tuple[dict[str, Any], list[Run]]] = []
    for run in runs:
        recipe = _without_seeds(run)
        group = next((members for known, members in groups if known == recipe), None)
        if group is None:
            groups.append((recipe, [run]))
        else:
            group.append(run)
    return [members for _, members in groups] if len(groups) > 1 else [[run] for run in runs]


def _without_seeds(run: Run) -> dict[str, Any]:
    """Dotted key -> value of a run's recipe, without seeds and what has no effect on the model."""
    recipe = load_recipe(run.recipe, kinds=RECIPES).recipe.model_dump(mode="json")
    return {key: value for key, value in _leaves(recipe).items() if key.rpartition(".")[2] not in ("seed", *_NO_EFFECT)}


_NO_EFFECT = ("keep_checkpoints", "checks")


def _leaves(value: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {key: value}
    return {
        place: leaf
        for name, item in value.items()
        for place, leaf in _leaves(item, f"{key}.{name}".lstrip(".")).items()
    }

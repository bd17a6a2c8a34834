"""Every value of a recipe, with where it comes from and what it comes to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.recipe.blocks import ScratchModel
from llmkit.recipe.loading import LoadedRecipe

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel
    from llmkit.tasks.base import TaskRecipe
    from llmkit.training.precision import Precision
    from llmkit.training.schedule import Plan


@dataclass(frozen=True)
class ResolvedValue:
    """One key."""

    key: str
    """With dots: `train.learning_rate`."""
    value: Any
    """As the recipe has it, or its default."""
    origin: str
    """`recipe`, `parent recipe`, `--set`, `family` or `default`."""
    place: str | None
    """`file:line:column`, for a value of a file."""
    resolved: Any = None
    """What a value such as `auto`, a share or none comes to here; None if it is the value itself."""
    reason: str | None = None
    """What decided that: the task, the family, the device, the rows."""


def resolved_values(
    loaded: LoadedRecipe[TaskRecipe],
    *,
    path: str,
    plan: Plan,
    model: LoadedModel,
    precision: Precision,
    micro_batch: int,
) -> list[ResolvedValue]:
    """All keys in the order of the schema.

    Args:
        path: the recipe's file, as its messages name it.
        micro_batch: tokens of a micro-batch.
    """
    known = _decided(loaded.recipe, plan=plan, model=model, precision=precision, micro_batch=micro_batch)
    values = []
    for key, value in _leaves(loaded.recipe.model_dump(mode="json")):
        resolved, reason = known.get(key, (None, None))
        origin, place = _origin(key, loaded, path=path)
        values.append(ResolvedValue(key, value, origin, place, resolved, reason))
    return values


def _origin(key: str, loaded: LoadedRecipe[TaskRecipe], *, path: str) -> tuple[str, str | None]:
    place = loaded.origins.get(key)
    if place is None:  # a list or a mapping as a whole, or the key of a mapping that was given as null
        place = next((found for name, found in loaded.origins.items() if key.startswith(f"{name}.")), None)
    if place is None:
        is_llama = key == "model.dropout" and not getattr(loaded.recipe.model, "dropout", True)
        return ("family" if is_llama else "default"), None
    if place == "--set":
        return place, None
    return ("recipe" if place.startswith(f"{os.fspath(path)}:") else "parent recipe"), place


def _decided(
    recipe: TaskRecipe, *, plan: Plan, model: LoadedModel, precision: Precision, micro_batch: int
) -> Mapping[str, tuple[Any, str]]:
    """Key -> what it comes to, and why, for keys whose value leaves that open."""
    train = recipe.train
    kind = (
        "random weights" if isinstance(recipe.model, ScratchModel) else "LoRA" if train.lora else "pretrained weights"
    )
    decided: dict[str, tuple[Any, str]] = {}
    if train.epochs is None and train.steps is None:
        decided["train.epochs"] = (plan.total_steps / plan.steps_per_epoch, "without epochs and steps")
    if train.learning_rate == "auto":
        decided["train.learning_rate"] = (plan.peak_learning_rate, f"family {model.family.name}, {kind}")
    if isinstance(train.warmup, str):
        decided["train.warmup"] = (plan.warmup_steps, "steps of this training")
    if train.precision == "auto":
        decided["train.precision"] = (precision.format, precision.reason)
    if train.micro_batch_tokens == "auto":
        decided["train.micro_batch_tokens"] = (micro_batch, "device")
    if recipe.evaluation.metrics is None and recipe.metrics:
        decided["evaluation.metrics"] = (list(recipe.metrics), f"task {recipe.task}")
    if recipe.evaluation.best is None:
        decided["evaluation.best"] = (recipe.best, f"task {recipe.task}")
    if recipe.evaluation.every.endswith(("epoch", "epochs")):
        decided["evaluation.every"] = (f"{plan.evaluate_every_steps:,} steps", "rows and batch_size")
    if getattr(recipe, "labels", ()) is None and model.labels:
        decided["labels"] = (list(model.labels), "rows")
    for key in ("max_tokens", "block_tokens"):
        if getattr(recipe, key, 0) is None and model.is_bounded:
            decided[key] = (model.window, f"window of {model.name}")
    return decided


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

"""The families of models, as a table. Imports no model library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmkit.models.families import FAMILIES, Family
from llmkit.tasks import RECIPES


@dataclass(frozen=True)
class FamilyDescription:
    """What llmkit does with one family of models."""

    name: str
    model_types: tuple[str, ...]
    """Values of `model_type` in config.json."""
    heads: tuple[str, ...]
    tasks: tuple[str, ...]
    """Values of `task` in a recipe."""
    sizes: Mapping[str, int]
    """Size for random weights -> parameters with a vocabulary of 8,000; empty if a model cannot start from random
    weights."""
    learning_rates: Mapping[str, float]
    """Default peak learning rate for `pretrained` weights, `random` weights and `lora`."""
    attention_kernels: tuple[str, ...]
    """Attention implementations, the default first; empty without attention."""


def list_families() -> tuple[FamilyDescription, ...]:
    """All families of models that llmkit trains and uses."""
    return tuple(_described(family) for family in FAMILIES.values())


def _described(family: Family) -> FamilyDescription:
    rates = family.learning_rates
    return FamilyDescription(
        name=family.name,
        model_types=family.model_types,
        heads=tuple(family.heads),
        tasks=tuple(task for task, recipe in RECIPES.items() if family.name in recipe.FAMILIES),
        sizes=family.size_parameters,
        learning_rates={"pretrained": rates.pretrained, "random": rates.random, "lora": rates.lora},
        attention_kernels=family.attention_kernels,
    )

"""All that is decided before the first step of a training: what `prepare` gives, and the loop and the run folder use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate import Accelerator

    from llmkit.data.examples import Examples
    from llmkit.tasks.base import Task, TaskRecipe
    from llmkit.training.checkpoints import Checkpoint
    from llmkit.training.precision import Precision
    from llmkit.training.schedule import Plan


@dataclass(frozen=True)
class Prepared:
    """All that was decided before the first step."""

    recipe: TaskRecipe
    task: Task
    train: Examples
    validation: Examples
    plan: Plan
    precision: Precision
    accelerator: Accelerator
    data: dict[str, Any]
    """data.json"""
    checkpoint: Checkpoint | None
    """Where a resumed training goes on."""
    unigram: float | None
    """Nats per validation target of a guess by frequency alone, for a language model."""
    checks: Mapping[str, str] | None
    """What was tried before the first step, and found right; None where the recipe turns that off."""

    @property
    def best(self) -> str:
        """The figure that picks the best checkpoint."""
        return self.task.recipe.best  # a task may settle what its recipe leaves to the rows

    @property
    def parameters(self) -> int:
        """Of the finished model; those of an adapter are merged into it."""
        own = self.task.loaded.model.named_parameters()
        return sum(parameter.numel() for name, parameter in own if ".lora_" not in name)

    @property
    def trained_parameters(self) -> int:
        """Those that learn, an adapter's among them."""
        return sum(parameter.numel() for parameter in self.task.loaded.model.parameters() if parameter.requires_grad)

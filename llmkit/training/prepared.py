"""Everything that is decided before the first step: the result of `prepare`, for the loop and the run folder."""

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
    from llmkit.training.splits import SplitRows


@dataclass(frozen=True)
class Prepared:
    """Everything that was decided before the first step."""

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
    """The checkpoint that a resumed run continues from."""
    unigram: float | None
    """For a language model: nats per validation target when predicting by token frequency alone."""
    checks: Mapping[str, str] | None
    """The checks that passed before the first step; None if the recipe turns them off."""
    validation_rows: SplitRows
    """The rows of `validation`, before `evaluation.max_rows`; reading them opens their files again."""
    micro_batch_tokens: int | None = None
    """The size that fitted into memory before the run was resumed, if the recipe's did not."""

    @property
    def best(self) -> str:
        """The score that selects the best checkpoint."""
        return self.task.recipe.best  # a task may complete its recipe from the rows

    @property
    def steps_left(self) -> int:
        """Number of steps that this training can take."""
        return self.plan.total_steps - (self.checkpoint.step if self.checkpoint is not None else 0)

    @property
    def parameters(self) -> int:
        """Number of parameters of the finished model, with an adapter merged into it."""
        parameters = self.task.loaded.model.named_parameters()
        return sum(parameter.numel() for name, parameter in parameters if ".lora_" not in name)

    @property
    def trained_parameters(self) -> int:
        """Number of trainable parameters, including an adapter's."""
        return sum(parameter.numel() for parameter in self.task.loaded.model.parameters() if parameter.requires_grad)

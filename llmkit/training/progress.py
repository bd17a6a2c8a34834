"""The progress of a training run, and its events. All of it is plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import RunError
from llmkit.tasks.base import Scores

if TYPE_CHECKING:
    from llmkit.evaluation.measure import Measured


@dataclass(frozen=True)
class Progress:
    """The state of a checkpoint besides tensors. The position in the data is `step` itself."""

    step: int = 0
    """Number of completed optimizer steps."""
    examples_seen: int = 0
    targets_seen: int = 0
    best_value: float | None = None
    best_step: int | None = None
    evaluations_since_best: int = 0

    def after_step(self, *, examples: int, targets: int) -> Progress:
        return replace(
            self,
            step=self.step + 1,
            examples_seen=self.examples_seen + examples,
            targets_seen=self.targets_seen + targets,
        )

    def after_evaluation(self, value: float, *, better: bool) -> Progress:
        if better:
            return replace(self, best_value=value, best_step=self.step, evaluations_since_best=0)
        return replace(self, evaluations_since_best=self.evaluations_since_best + 1)

    def with_best_of(self, before: Progress) -> Progress:
        """The best evaluation is that of `before`: the checkpoint of a better one could not be saved."""
        return replace(self, best_value=before.best_value, best_step=before.best_step)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Progress:
        try:
            return cls(**content)
        except TypeError as error:
            raise RunError(f"trainer_state.json is not of this version ({error}).") from error


@dataclass(frozen=True)
class StepResult:
    step: int
    """1 after the first step."""
    epoch: float
    loss: float
    """Nats per target, over the whole step."""
    learning_rate: float
    gradient_norm: float
    """Before clipping."""
    targets: int
    tokens: int
    """Without padding, over all devices."""
    padding_share: float
    """Of the positions that were computed."""
    elapsed_seconds: float


@dataclass(frozen=True)
class Evaluated:
    step: int
    measured: Measured
    """On the validation rows."""
    is_best: bool
    elapsed_seconds: float

    @property
    def scores(self) -> Scores:
        return self.measured.scores


@dataclass(frozen=True)
class Saved:
    step: int
    folder: Path


@dataclass(frozen=True)
class MicroBatchesReduced:
    """Memory did not suffice in a step, which was computed again."""

    step: int
    """1 for the first step."""
    micro_batch_tokens: int
    """From this step on."""


Event = StepResult | Evaluated | Saved | MicroBatchesReduced

"""What most tasks have in common, so that a task's class defines only where it differs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.tasks.base import Batch

if TYPE_CHECKING:
    from llmkit.data.examples import Examples
    from llmkit.data.rows import Row
    from llmkit.models.scale import TargetScale


class BaseTask(ABC):
    """The defaults of `Task`: nothing depends on the rows, and the targets are not numbers."""

    @property
    def tuned(self) -> Mapping[str, Any]:
        return {}

    def encode_every(self, rows: Iterable[Row]) -> Examples:
        return self.encode(rows)

    @abstractmethod
    def encode(self, rows: Iterable[Row]) -> Examples: ...

    def means(self, batch: Batch) -> Mapping[str, tuple[float, int]]:
        return {}

    def prepare_training(self, train: Examples) -> Examples:
        return train

    def check_labels(self, train: Examples, validation: Examples) -> None:
        return None

    def target_scale(self, train: Examples) -> TargetScale | None:
        return None

    def standardise(self, scale: TargetScale) -> None:
        raise AssertionError("called without a scale of `target_scale`")

    def reset_tuning(self) -> None:
        return None

    def tune_threshold(self, predictions: list[Any], references: Sequence[Any]) -> list[Any]:
        return predictions

"""What a trained classifier saves in its config for inference."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from llmkit.tasks.saved import SavedTaskConfig


def _check_shares(threshold: object) -> object:
    if threshold is None:
        return None
    values = threshold.values() if isinstance(threshold, dict) else [threshold]
    if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in values):
        raise ValueError("a threshold is a number from 0 to 1, or one for each label")
    return threshold


class SavedClassification(SavedTaskConfig):
    model_config = ConfigDict(extra="forbid")

    TASK: ClassVar[str] = "classification"

    overflow: Literal["error", "truncate", "window"] | None = None
    """What happens to a text that is too long."""
    window_overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that neighbouring windows share."""
    pairs: bool | None = None
    """Whether it was trained on pairs."""
    threshold: Annotated[float | dict[str, float] | None, BeforeValidator(_check_shares)] = None
    """Least probability of a label, where a text may have many: one for all, or one for each."""
    class_weights: dict[str, float] | None = None
    """Weight of a row in the loss, by its label; 1 for a label that is not named."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """What logits are divided by before they become probabilities; fitted on the validation rows."""
    abstain_accuracy: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The accuracy that the labels it gives should have at least."""
    abstain_below: Annotated[float, Field(ge=0, le=1)] | None = None
    """The probability below which it gives no label; None with `abstain_accuracy` if no limit reaches that."""

    @property
    def abstain_limit(self) -> float | None:
        """The probability below which a row gets no label; infinity where none reaches the accuracy; None if all do."""
        return math.inf if self.abstain_accuracy is not None and self.abstain_below is None else self.abstain_below

"""What a trained classifier saves in its config for inference."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from llmkit.tasks.saved import SavedTaskConfig


class SavedClassification(SavedTaskConfig):
    model_config = ConfigDict(extra="forbid")

    TASK: ClassVar[str] = "classification"

    overflow: Literal["error", "truncate", "window"] | None = None
    """What happens to a text that is too long."""
    window_overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that neighbouring windows share."""
    pairs: bool | None = None
    """Whether it was trained on pairs."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least probability of a label, where a text may have many."""
    class_weights: dict[str, float] | None = None
    """Weight of a row in the loss, by its label; 1 for a label that is not named."""

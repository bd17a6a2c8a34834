"""What a trained multiple-choice model saves in its config for inference."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from llmkit.tasks.saved import SavedTaskConfig


class SavedMultipleChoice(SavedTaskConfig):
    TASK: ClassVar[str] = "multiple-choice"

    overflow: Literal["error", "truncate"] | None = None
    """What happens to a context that is too long."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """What scores are divided by before they become probabilities; fitted on the validation rows."""

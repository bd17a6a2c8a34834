"""What a trained tagger saves in its config for inference."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from llmkit.tasks.saved import SavedTaskConfig


class SavedTokenClassification(SavedTaskConfig):
    TASK: ClassVar[str] = "token-classification"

    window_overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that neighbouring windows share."""

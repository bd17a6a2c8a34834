"""What a trained multiple-choice model keeps in its config for its use."""

from __future__ import annotations

from typing import ClassVar, Literal

from llmkit.tasks.saved import SavedTaskConfig


class SavedMultipleChoice(SavedTaskConfig):
    TASK: ClassVar[str] = "multiple-choice"

    overflow: Literal["error", "truncate"] | None = None
    """What becomes of a context that is too long."""

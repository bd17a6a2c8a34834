"""What a trained model saves in its config for question answering."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from llmkit.tasks.saved import SavedTaskConfig


class SavedQuestionAnswering(SavedTaskConfig):
    """The keys of `AnswerOptions`."""

    TASK: ClassVar[str] = "question-answering"

    window_overlap: Annotated[int, Field(ge=0)] | None = None
    max_answer_tokens: Annotated[int, Field(ge=1, le=1000)] | None = None
    no_answer: bool | None = None
    no_answer_threshold: float | None = None

    @property
    def allows_no_answer(self) -> bool:
        """True for a model of another program, which does not save the key."""
        return self.no_answer is not False

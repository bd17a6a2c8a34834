"""Options of answer prediction, and how a window is shared by question and context. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmkit.data.windows import default_overlap
from llmkit.errors import UsageError
from llmkit.recipe.blocks import Block

_SPECIAL_TOKENS = 3


class AnswerOptions(Block):
    """How answers are predicted."""

    window_overlap: Annotated[int, Field(ge=0)]
    """Tokens of the context that neighbouring windows share."""
    max_answer_tokens: Annotated[int, Field(ge=1, le=1000)]
    no_answer: bool
    """Whether the model may predict that there is no answer."""
    no_answer_threshold: float
    """No answer is predicted where the null score exceeds the best answer's by more than this."""


def least_room(window: int) -> int:
    """Tokens of a context that fit in a window with the longest question."""
    return window - longest_question(window) - _SPECIAL_TOKENS


def longest_question(window: int) -> int:
    """Tokens of a question that fit in half of the window, with its two special tokens."""
    return window // 2 - 2


def overlap_of(window: int, window_overlap: int | None) -> int:
    """`window_overlap`, or a quarter of the window where it is None.

    Raises:
        UsageError: it leaves no step forward.
    """
    if window_overlap is None:
        return default_overlap(window)
    if window_overlap >= least_room(window):
        raise UsageError(
            f"window_overlap: {window_overlap:,} tokens leave no step forward: with a long question, a window of "
            f"{window:,} holds {least_room(window):,} tokens of the context. Use less than that."
        )
    return window_overlap

"""How answers are found, and how much of a window belongs to the question. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llmkit.data.windows import default_overlap
from llmkit.errors import UsageError
from llmkit.recipe.blocks import Block

_SPECIAL_TOKENS = 3


class AnswerOptions(Block):
    """How answers are found."""

    window_overlap: Annotated[int, Field(ge=0)]
    """Tokens of the context that neighbouring windows share."""
    max_answer_tokens: Annotated[int, Field(ge=1, le=1000)]
    no_answer: bool
    """Whether `no answer` may be said."""
    no_answer_threshold: float
    """It is said where its score is above the best answer's by more than this."""


def least_room(window: int) -> int:
    """Tokens of a context that fit beside the longest question."""
    return window - longest_question(window) - _SPECIAL_TOKENS


def longest_question(window: int) -> int:
    """Half of the window belongs to the question, its two special tokens included."""
    return window // 2 - 2


def overlap_of(window: int, wanted: int | None) -> int:
    """The overlap, a quarter of the window where none is wanted.

    Raises:
        UsageError: windows would not move on.
    """
    if wanted is None:
        return default_overlap(window)
    if wanted >= least_room(window):
        raise UsageError(
            f"window_overlap: {wanted:,} tokens leave no step forward: beside a long question a window of {window:,} "
            f"holds {least_room(window):,} tokens of the context. Use less than that."
        )
    return wanted

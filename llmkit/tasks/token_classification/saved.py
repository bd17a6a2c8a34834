"""What a trained tagger saves in its config for inference."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from llmkit.tasks.saved import SavedTaskConfig
from llmkit.tasks.token_classification.splitting import WordSplitting


class SavedTokenClassification(SavedTaskConfig):
    TASK: ClassVar[str] = "token-classification"

    scheme: Literal["bio", "plain"] | None = None
    """Whether its tags are those of entities; without it, its labels say so."""
    overflow: Literal["error", "truncate", "window"] | None = None
    """What becomes of a text that is too long."""
    window_overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that neighbouring windows share."""
    class_weights: dict[str, float] | None = None
    """Weight of a word in the loss, by its tag; 1 for a tag that is not named."""
    splitting: WordSplitting | None = None
    """How a text becomes words, for a model that was trained on words; else the tokenizer's own rules apply."""

"""The keys that the recipes of summarization, translation and text-to-text have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from llmkit.data.lengths import Overflow
from llmkit.models.families import Head, families_with
from llmkit.recipe.blocks import Block, PositiveInt
from llmkit.tasks.base import TaskRecipe

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel
    from llmkit.tasks.seq2seq.task import Seq2SeqTask


class WritingBlock(Block):
    """How texts are written: in evaluation, and with the saved model by default."""

    max_new_tokens: PositiveInt | None = None
    """Length limit; without it, what 99 % of the training targets need."""
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    """Width of the search; 1 takes the likeliest token each time."""
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """Divides the scores of tokens already there (Keskar et al. 2019); 1 is off."""


class Seq2SeqRecipe(TaskRecipe):
    """The keys of all three; each gives its own defaults for the lengths."""

    HEAD: ClassVar[Head] = "seq2seq-lm"
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("seq2seq-lm")
    SOURCE: ClassVar[str]
    """The role that is read."""
    TARGET: ClassVar[str]
    """The role that is written."""

    prefix: str | None = None
    """Stands in front of every text, in training and in use; without it, the task's own for T5, none for mT5."""
    max_source_tokens: Annotated[int, Field(ge=4)]
    max_target_tokens: Annotated[int, Field(ge=2)]
    overflow: Overflow = "truncate"
    generation: WritingBlock = WritingBlock()

    @property
    def window_tokens(self) -> int | None:
        return self.max_source_tokens

    @property
    def own_prefix(self) -> str:
        """The words that T5 was taught the task with, if any."""
        return ""

    @property
    def remembered(self) -> dict[str, Any]:
        """What the model's later users need besides the prefix."""
        return {}

    def build_task(self, loaded: LoadedModel) -> Seq2SeqTask:
        from llmkit.tasks.seq2seq.task import Seq2SeqTask

        return Seq2SeqTask(self, loaded)

"""The keys that the recipes of summarization, translation and text-to-text have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from llmkit.data.lengths import Overflow
from llmkit.models.families import Head, families_with
from llmkit.recipe.blocks import Block, PositiveInt
from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.seq2seq.saved import SavedSeq2Seq

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel


class WritingBlock(Block):
    """How texts are generated: in evaluation, and by default with the saved model."""

    max_new_tokens: PositiveInt | None = None
    """Length limit; without it, what 99 % of the training targets need."""
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    """Beam width; 1 is greedy decoding."""
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    """Divides the scores of tokens already there (Keskar et al. 2019); 1 is off."""


class Seq2SeqRecipe(TaskRecipe):
    """The keys of all three; each has its own default lengths."""

    HEAD: ClassVar[Head] = "seq2seq-lm"
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("seq2seq-lm")
    SOURCE: ClassVar[str]
    """The input field."""
    TARGET: ClassVar[str]
    """The output field."""
    SAVED: ClassVar[type[SavedSeq2Seq]]

    prefix: str | None = None
    """Put before every text, in training and inference; without it, the task's own for T5, none for mT5."""
    max_source_tokens: Annotated[int, Field(ge=4)]
    max_target_tokens: Annotated[int, Field(ge=2)]
    overflow: Overflow = "truncate"
    generation: WritingBlock = WritingBlock()

    @property
    def window_tokens(self) -> int | None:
        return self.max_source_tokens

    @property
    def task_prefix(self) -> str:
        """The prefix that T5 was trained on this task with, if any."""
        return ""

    def saved_config(self, *, prefix: str) -> SavedSeq2Seq:
        """What the trained model saves."""
        raise NotImplementedError

    @property
    def chunk_overlap(self) -> int:
        """Tokens that the chunks of a long text share."""
        return 0

    @classmethod
    def keys_of_model(cls, loaded: LoadedModel) -> dict[str, Any]:
        """Of the entries of Google's T5, only the prefix."""
        saved = cls.SAVED.load(loaded) if cls.SAVED.is_in(loaded) else SavedSeq2Seq()
        generation = loaded.model.generation_config
        generation_keys = {
            "beams": generation.num_beams or 1,
            "repetition_penalty": generation.repetition_penalty or 1.0,
        }
        limit = {"max_source_tokens": loaded.window} if loaded.is_bounded else {}
        saved_keys = saved.model_dump(exclude_none=True, exclude=set(SavedSeq2Seq.model_fields) - {"prefix"})
        return {**saved_keys, **limit, "generation": generation_keys}

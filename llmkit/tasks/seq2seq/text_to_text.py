"""Any text for any text, with T5 or mT5: a correction, a query, a name, an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from llmkit.recipe.blocks import ColumnType
from llmkit.tasks.draft import TaskDraft
from llmkit.tasks.seq2seq.draft import TextToTextDraft
from llmkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from llmkit.tasks.seq2seq.saved import SavedSeq2Seq, SavedTextToText

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel


class TextToTextRecipe(Seq2SeqRecipe):
    VERB: ClassVar[str] = "generate"
    USE: ClassVar[str] = "llmkit generate FILE --model {model}"
    PURPOSE: ClassVar[str] = "turns a text into another one, as its training rows do"
    PIPELINE_TAG: ClassVar[str] = "text-generation"
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {"text": "text", "target": "text", "prefix": "text"}
    OPTIONAL_FIELDS: ClassVar[Mapping[str, bool]] = {"prefix": True}
    READ_FIELDS: ClassVar[tuple[str, ...]] = ("text", "prefix")
    TARGET_FIELDS: ClassVar[tuple[str, ...]] = ("target",)
    METRICS: ClassVar[tuple[str, ...]] = ("rouge", "exact_text")
    BEST: ClassVar[str] = "rougeL"
    BASELINES: ClassVar[tuple[str, ...]] = ("copy",)
    DRAFT: ClassVar[TaskDraft] = TextToTextDraft()
    SOURCE: ClassVar[str] = "text"
    TARGET: ClassVar[str] = "target"
    SAVED: ClassVar[type[SavedSeq2Seq]] = SavedTextToText

    task: Literal["text-to-text"]
    max_source_tokens: Annotated[int, Field(ge=4)] = 512
    max_target_tokens: Annotated[int, Field(ge=2)] = 128
    overflow: Literal["error", "truncate", "drop"] = "truncate"
    """What happens to longer texts and targets, always with counts."""

    def saved_config(self, *, prefix: str) -> SavedTextToText:
        return SavedTextToText(prefix=prefix, overflow="error" if self.overflow == "error" else "truncate")

    @classmethod
    def has_trained(cls, loaded: LoadedModel) -> bool:
        return cls.SAVED.is_in(loaded)

"""A short text for a long one, with T5 or mT5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from llmkit.data.windows import default_overlap
from llmkit.recipe.blocks import ColumnType
from llmkit.tasks.draft import TaskDraft
from llmkit.tasks.seq2seq.draft import SummarizationDraft
from llmkit.tasks.seq2seq.recipe import Seq2SeqRecipe
from llmkit.tasks.seq2seq.saved import SavedSeq2Seq, SavedSummarization


class SummarizationRecipe(Seq2SeqRecipe):
    VERB: ClassVar[str] = "summarize"
    USE: ClassVar[str] = "llmkit summarize FILE --model {model}"
    PURPOSE: ClassVar[str] = "summarizes a text"
    PIPELINE_TAG: ClassVar[str] = "summarization"
    HUB_DEFAULT: ClassVar[str] = "google-t5/t5-small"
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {"text": "text", "summary": "text"}
    TARGET_FIELDS: ClassVar[tuple[str, ...]] = ("summary",)
    METRICS: ClassVar[tuple[str, ...]] = ("rouge",)
    BEST: ClassVar[str] = "rougeL"
    BASELINES: ClassVar[tuple[str, ...]] = ("lead-1",)
    DRAFT: ClassVar[TaskDraft] = SummarizationDraft()
    SOURCE: ClassVar[str] = "text"
    TARGET: ClassVar[str] = "summary"
    TARGET_LENGTH: ClassVar[Literal["shorter", "similar", "any"]] = "shorter"
    SAVED: ClassVar[type[SavedSeq2Seq]] = SavedSummarization

    task: Literal["summarization"]
    max_source_tokens: Annotated[int, Field(ge=4)] = 512
    max_target_tokens: Annotated[int, Field(ge=2)] = 64
    overflow: Literal["error", "truncate", "drop", "window"] = "truncate"
    """What happens to longer texts and summaries, always with counts; `window` summarizes a text in chunks."""
    window_overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that neighbouring chunks share; without it, a quarter of `max_source_tokens`."""

    @property
    def task_prefix(self) -> str:
        return "summarize: "

    def saved_config(self, *, prefix: str) -> SavedSummarization:
        if self.overflow != "window":
            return SavedSummarization(prefix=prefix)
        return SavedSummarization(prefix=prefix, overflow="window", window_overlap=self.overlap_tokens)

    @property
    def chunk_overlap(self) -> int:
        return self.overlap_tokens if self.overflow == "window" else 0

    @property
    def overlap_tokens(self) -> int:
        return default_overlap(self.max_source_tokens) if self.window_overlap is None else self.window_overlap

    @model_validator(mode="after")
    def _overlap_fits(self) -> SummarizationRecipe:
        if self.window_overlap is not None and self.overflow != "window":
            raise ValueError("window_overlap: belongs to overflow: window")
        if self.overlap_tokens > self.max_source_tokens // 2:
            raise ValueError(
                f"window_overlap: {self.overlap_tokens} is more than half of max_source_tokens {self.max_source_tokens}"
            )
        return self

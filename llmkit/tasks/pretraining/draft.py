"""Text for pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from llmkit.models.published import BART, BERT, GPT2, QWEN, T5_SMALL, XLM_ROBERTA, Published
from llmkit.tasks.columns import Form, Match
from llmkit.tasks.draft import Example, Recognised, TaskDraft

if TYPE_CHECKING:
    from llmkit.data.profiles import TableProfile


class CorpusDraft(TaskDraft):
    FORMS: ClassVar[tuple[Form, ...]] = (Form({"text": "text"}),)
    EXAMPLE: ClassVar[Example] = Example("builtin:python-docs", Match({"text": "docstring"}))


class MaskedLMDraft(CorpusDraft):
    MODELS: ClassVar[tuple[Published, ...]] = (BERT, XLM_ROBERTA)


class SpanCorruptionDraft(CorpusDraft):
    MODELS: ClassVar[tuple[Published, ...]] = (T5_SMALL,)


class DenoisingDraft(CorpusDraft):
    MODELS: ClassVar[tuple[Published, ...]] = (BART,)


class CausalLMDraft(CorpusDraft):
    """The task for text without labels or numbers."""

    MODELS: ClassVar[tuple[Published, ...]] = (GPT2, QWEN)

    def by_layout(self, table: TableProfile) -> Recognised | None:
        if table.format != "text":
            return None
        return Recognised("plain text has no labels, so a model learns to continue it", Match({}))

    def by_values(self, table: TableProfile) -> Recognised | None:
        targets = [column for column in table.columns if column.is_label or column.is_measured]
        if len(table.texts) != 1 or not all(column.is_identifier for column in targets):
            return None
        name = table.texts[0].name
        return Recognised(f"{name!r} is the only text, and there are no labels", Match({"text": name}, by_name=False))

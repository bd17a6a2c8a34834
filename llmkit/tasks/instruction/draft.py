"""Tables for a chat model: conversations, or prompts with responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from llmkit.models.published import QWEN, SMOLLM2, Published
from llmkit.tasks.columns import Form, Match, unambiguous
from llmkit.tasks.draft import Example, Recognised, TaskDraft

if TYPE_CHECKING:
    from llmkit.data.profiles import TableProfile

_MESSAGES = Form({"messages": "messages"})
_PROMPTS = Form({"prompt": "text", "response": "text"}, optional=("input",), in_order=True)


class InstructionDraft(TaskDraft):
    FORMS: ClassVar[tuple[Form, ...]] = (_MESSAGES, _PROMPTS)
    EXAMPLE: ClassVar[Example] = Example("builtin:python-docs", Match({"prompt": "name", "response": "summary"}))
    MODELS: ClassVar[tuple[Published, ...]] = (SMOLLM2, QWEN)

    def by_layout(self, table: TableProfile) -> Recognised | None:
        match = unambiguous(_MESSAGES, table)
        return None if match is None else Recognised("a column has conversations", match)

    def by_names(self, table: TableProfile) -> Recognised | None:
        match = unambiguous(_PROMPTS, table)
        if match is None or not match.by_name:
            return None
        return Recognised(f"{match.listed} are a prompt and its response", match)

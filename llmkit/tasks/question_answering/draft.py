"""Tables for question answering: answers with their places in a context, or texts that stand in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from llmkit.errors import UsageError
from llmkit.models.published import DISTILBERT, XLM_ROBERTA, Published
from llmkit.tasks.columns import Columns, Form, Match, match_form
from llmkit.tasks.draft import Example, Recognised, TaskDraft

if TYPE_CHECKING:
    from llmkit.data.profiles import TableProfile

_FORM = Form({"context": "text", "question": "text", "answers": "answers"})
_INSIDE = 0.8
"""Share of the answers that stand in their contexts, in a table for this task."""


class QuestionAnsweringDraft(TaskDraft):
    FORMS: ClassVar[tuple[Form, ...]] = (_FORM,)
    EXAMPLE: ClassVar[Example] = Example("builtin:python-docs-questions", Match({}))
    MODELS: ClassVar[tuple[Published, ...]] = (DISTILBERT, XLM_ROBERTA)

    def by_layout(self, table: TableProfile) -> Recognised | None:
        match = self.match(table, {})
        return None if match is None else Recognised("answers are parts of a context", match)

    def match(self, table: TableProfile, given: Columns) -> Match | None:
        if "answers" in given:
            return None
        try:
            match = match_form(_FORM, table, given=given, ask=None)
        except UsageError:
            return None
        if match is None or not (match.by_name or given or _have_places(table, match)):
            return None
        return match if _have_places(table, match) or _stand_inside(table, match) else None


def _have_places(table: TableProfile, match: Match) -> bool:
    answers = table.column(str(match.columns["answers"]))
    return answers is not None and "answers" in answers.types


def _stand_inside(table: TableProfile, match: Match) -> bool:
    """Whether nearly all answers are parts of their contexts."""
    answers, contexts = (table.column(str(match.columns[name])) for name in ("answers", "context"))
    if answers is None or contexts is None or len(answers.values) != len(contexts.values):
        return False
    pairs = [
        (answer, str(context))
        for value, context in zip(answers.values, contexts.values, strict=True)
        for answer in (value if isinstance(value, list) else [str(value)])
    ]
    return sum(answer in context for answer, context in pairs) > _INSIDE * len(pairs)

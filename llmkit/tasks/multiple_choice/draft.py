"""Tables for multiple choice: choices in a list or in columns, with an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from llmkit.models.published import BERT, XLM_ROBERTA, Published
from llmkit.tasks.columns import Form, Match, unambiguous
from llmkit.tasks.draft import Example, Recognised, TaskDraft
from llmkit.tasks.multiple_choice.choices import MOST_CHOICES

if TYPE_CHECKING:
    from llmkit.data.profiles import TableProfile

_CONTEXT = ("context", "question")
_ENDINGS = tuple(f"ending{number}" for number in range(2, MOST_CHOICES))
_IN_LIST = Form({"choices": "words", "answer": "label"}, optional=_CONTEXT)
_IN_COLUMNS = Form({"ending0": "text", "ending1": "text", "answer": "label"}, optional=(*_CONTEXT, *_ENDINGS))
_WITHOUT = Form({"context": "text", "answer": "text"}, keys={"distractors": 3})


class MultipleChoiceDraft(TaskDraft):
    FORMS: ClassVar[tuple[Form, ...]] = (_IN_LIST, _IN_COLUMNS, _WITHOUT)
    EXAMPLE: ClassVar[Example] = Example(
        "builtin:python-docs", Match({"context": "docstring", "answer": "label"}, _WITHOUT.keys)
    )
    MODELS: ClassVar[tuple[Published, ...]] = (BERT, XLM_ROBERTA)

    def by_layout(self, table: TableProfile) -> Recognised | None:
        match = unambiguous(_IN_LIST, table) or unambiguous(_IN_COLUMNS, table)
        if match is None or not match.by_name or not match.columns.keys() & set(_CONTEXT):
            return None
        return Recognised("each row has choices and an answer", match)

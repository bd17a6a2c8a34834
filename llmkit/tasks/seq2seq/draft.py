"""Tables for summarization, translation and text-to-text: two texts, of which the second is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from llmkit.models.published import T5_SMALL, Published
from llmkit.tasks.columns import Columns, Form, Match, unambiguous, used
from llmkit.tasks.draft import Example, Recognised, TaskDraft
from llmkit.tasks.seq2seq.languages import language_in

if TYPE_CHECKING:
    from llmkit.data.profiles import TableProfile

_SUMMARY = Form({"text": "text", "summary": "text"})
_NAMES_OF_SUMMARIES = frozenset({"summary", "highlights", "tldr", "abstract"})
_NAMES_OF_PAIRS = (("source", "target"), ("src", "tgt"), ("text", "target"), ("draft", "corrected"))


class Seq2SeqDraft(TaskDraft):
    MODELS: ClassVar[tuple[Published, ...]] = (T5_SMALL,)


class SummarizationDraft(Seq2SeqDraft):
    FORMS: ClassVar[tuple[Form, ...]] = (_SUMMARY,)
    EXAMPLE: ClassVar[Example] = Example("builtin:python-docs", Match({}))

    def by_names(self, table: TableProfile) -> Recognised | None:
        match = unambiguous(_SUMMARY, table)
        if match is None:
            return None
        name = str(match.columns["summary"])
        is_named = name.rpartition(".")[2].casefold() in _NAMES_OF_SUMMARIES
        return Recognised(f"{name!r} is a summary", match) if is_named else None


class TextToTextDraft(Seq2SeqDraft):
    FORMS: ClassVar[tuple[Form, ...]] = (Form({"text": "text", "target": "text"}, optional=("prefix",), in_order=True),)
    EXAMPLE: ClassVar[Example] = Example("builtin:python-docs", Match({"text": "docstring", "target": "label"}))

    def by_names(self, table: TableProfile) -> Recognised | None:
        columns = {"".join(text.words): text for text in reversed(table.texts)}
        for names in _NAMES_OF_PAIRS:
            if columns.keys() >= set(names) and not columns[names[1]].is_label:
                match = Match(dict(zip(("text", "target"), (columns[name].name for name in names), strict=True)))
                return Recognised(f"{match.listed} are a text and what to write for it", match)
        return None


class TranslationDraft(Seq2SeqDraft):
    FORMS: ClassVar[tuple[Form, ...]] = (Form({"source": "text", "target": "text"}, in_order=True),)

    def by_names(self, table: TableProfile) -> Recognised | None:
        match = self.match(table, {})
        return None if match is None else Recognised(f"{match.listed} are languages", match)

    def match(self, table: TableProfile, given: Columns) -> Match | None:
        """Two texts whose columns are called as languages, the first of them the source."""
        columns = {name: str(column) for name, column in given.items()}
        named = [text.name for text in table.texts if language_in(text.name) and text.name not in used(columns)]
        for name in ("source", "target"):
            if name not in columns and named:
                columns[name] = named.pop(0)
        languages = [language_in(columns.get(name, "")) for name in ("source", "target")]
        several = named and not given
        return None if several or None in languages or languages[0] == languages[1] else Match(columns)

"""Tables for tagging: CoNLL, lists of words and tags, texts with spans, or a word in each row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from llmkit.data.column_types import labels
from llmkit.errors import DataError
from llmkit.models.published import BERT_CASED, XLM_ROBERTA, Published
from llmkit.tasks.columns import Columns, Form, Match, by_name, unambiguous
from llmkit.tasks.draft import Example, Recognised, TaskDraft

if TYPE_CHECKING:
    from llmkit.data.profiles import TableProfile

_WORDS = Form({"words": "words", "tags": "labels"})
_SPANS = Form({"text": "text", "spans": "spans"})
_TAGGED = re.compile(r"\S+\s(.*\s)?([BIESLU]-\S+|O)\s*")
_NAMES_OF_WORDS = frozenset({"words", "word", "token", "tokens"})


class TokenClassificationDraft(TaskDraft):
    FORMS: ClassVar[tuple[Form, ...]] = (_WORDS, _SPANS)
    EXAMPLE: ClassVar[Example] = Example("builtin:python-docs-entities", Match({}))
    MODELS: ClassVar[tuple[Published, ...]] = (BERT_CASED, XLM_ROBERTA)

    def by_layout(self, table: TableProfile) -> Recognised | None:
        """
        Raises:
            DataError: CoNLL in a file whose name says that it is plain text.
        """
        if table.format == "text" and _has_tagged_lines(table):
            raise DataError(
                f"{table.source}: its lines end with tags such as O and B-PER, and a text file has none. Name a file of "
                "tagged words NAME.conll."
            )
        layouts = (
            ("CoNLL has a word and its tags in each line", Match({}) if table.format == "conll" else None),
            ("a column has labelled spans", unambiguous(_SPANS, table)),
            ("words and tags are lists of the same lengths", _lists_of_tags(table)),
            ("each row has a word and its tag", _word_rows(table)),
        )
        return next((Recognised(reason, match) for reason, match in layouts if match is not None), None)

    def match(self, table: TableProfile, given: Columns) -> Match | None:
        if given:
            return None
        return Match({}) if table.format == "conll" else _word_rows(table)


def _has_tagged_lines(table: TableProfile) -> bool:
    """Whether each line has a word and a tag of an entity, as in CoNLL."""
    lines = [line for text in table.columns[0].values for line in str(text).splitlines() if line.strip()]
    return all(_TAGGED.fullmatch(line) for line in lines)


def _lists_of_tags(table: TableProfile) -> Match | None:
    """Two columns of lists that have the same length in each row."""
    words = by_name("words", "words", table.columns)
    if words is None:
        return None
    tags = by_name("tags", "labels", [column for column in table.columns if column is not words])
    if tags is None or len(tags.values) != len(words.values):
        return None
    lengths = [[len(labels(value) or ()) for value in column.values] for column in (words, tags)]
    return Match({"words": words.name, "tags": tags.name}) if lengths[0] == lengths[1] else None


def _word_rows(table: TableProfile) -> Match | None:
    """A word and a tag in each row, and a column that says which words form a sentence."""
    if table.sentence is None:
        return None
    others = [column for column in table.columns if column.name != table.sentence]
    words = next((column for column in others if column.is_text and _NAMES_OF_WORDS & set(column.words)), None)
    if words is None:
        return None
    tags = by_name("tags", "label", [column for column in others if column is not words])
    return None if tags is None else Match({"words": words.name, "tags": tags.name, "sentence": table.sentence})

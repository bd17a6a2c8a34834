"""Which column of a table a field of a task may be: the usual names; and for messages, the value in the first row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from llmkit.data.column_types import READERS, ValueFault
from llmkit.errors import nearest
from llmkit.recipe.blocks import ColumnType

_IDENTIFIER = re.compile(
    r"(.*[_\s.-])?(id|ids|idx|index|uid|uuid|guid|hash|key|nr|no|number|url|date|timestamp|split)"
    r"|(?-i:.*[a-z]I[dD])|unnamed:.*|__index_level_\d+__|\s*",
    re.IGNORECASE,
)
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "text": (
        "sentence", "review", "content", "body", "tweet", "comment", "message", "article", "document", "dialogue",
        "post", "question", "headline", "description", "abstract", "summary", "title", "docstring", "source", "input",
    ),
    "text_pair": ("sentence2", "hypothesis", "question2"),
    "label": (
        "class", "category", "target", "sentiment", "intent", "score", "stars", "rating", "topic", "section", "genre",
        "similarity", "polarity", "emotion", "language", "lang",
    ),
    "labels": ("classes", "categories", "tags", "topics", "genres", "label", "emotions"),
    "summary": ("highlights", "tldr", "headline", "abstract", "title"),
    "prompt": ("instruction", "question", "query", "input"),
    "response": ("output", "answer", "completion", "chosen", "reply"),
    "input": ("context",),
    "messages": ("conversations", "conversation", "dialogue", "dialog"),
    "context": ("passage", "paragraph", "article", "sent1", "text", "document", "sentence", "premise"),
    "question": ("query", "sent2"),
    "choices": ("options", "endings", "candidates", "answers"),
    "answer": ("label", "target", "gold", "correct", "key"),
    "answers": ("answer",),
    "words": ("tokens", "word", "token"),
    "tags": ("tag", "ner_tags", "pos_tags", "labels", "ner", "pos"),
    "spans": ("entities", "label", "annotations", "labels"),
    "source": ("src", "input", "input_text", "text"),
    "target": ("tgt", "output", "target_text", "label", "corrected", "correction"),
}  # fmt: skip
"""Field of a task -> names that such columns usually have, the most usual first."""


def is_identifier(name: str) -> bool:
    """Whether a column seems to hold ids, dates or nothing, but no text and no label."""
    return _IDENTIFIER.fullmatch(name) is not None


def likely_columns(
    fields: Mapping[str, str], types: Mapping[str, ColumnType], names: Sequence[str], record: Mapping[str, object]
) -> dict[str, str]:
    """Field -> column, for the fields that have a likely one; no column twice, and never one of ids.

    Args:
        fields: each with the column in which it was looked for.
        names: the columns that are not in use.
        record: the first row, empty if there is none.
    """
    free = [name for name in names if not is_identifier(name)]
    columns: dict[str, str] = {}
    for field, column in fields.items():
        likely = _by_name(field, column, free) or _by_value(types[field], free, record)
        if likely is not None:
            columns[field] = likely
            free.remove(likely)
    return columns


def _by_name(field: str, column: str, names: Sequence[str]) -> str | None:
    lowered = {name.lower(): name for name in reversed(names)}
    near = next((name for name in names if nearest(column, [name])), None)
    if near is not None and column != field:
        return near
    known = next((lowered[name] for name in (field, *USUAL_NAMES.get(field, ())) if name in lowered), None)
    return known or near


def _by_value(column_type: ColumnType, names: Sequence[str], record: Mapping[str, object]) -> str | None:
    """The column whose value fits: of texts the longest, of labels the shortest."""
    fitting = [name for name in names if name in record and _fits(record[name], column_type)]
    if not fitting:
        return None
    by_length = sorted(fitting, key=lambda name: len(str(record[name])))
    return by_length[0] if column_type in ("label", "labels", "number") else by_length[-1]


def _fits(value: object, column_type: ColumnType) -> bool:
    if value in (None, ""):
        return False
    try:
        return READERS[column_type](value) is not None
    except ValueFault:
        return False

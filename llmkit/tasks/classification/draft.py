"""Tables for classification: a text or a pair with a label, a number, or several labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from llmkit.models.published import DISTILBERT, XLM_ROBERTA, Published
from llmkit.tasks.columns import Columns, Form, Match, by_name, free_columns, match_form, pair_of, unambiguous
from llmkit.tasks.draft import Example, Recognised, TaskDraft

if TYPE_CHECKING:
    from llmkit.data.profiles import Column, TableProfile

_TEXT = Form({"text": "text"})
_LABELS = Form({"text": "text", "labels": "labels"}, keys={"multilabel": True})
_LABEL = Form({"text": "text", "label": "label"})
_NUMBER = Form({"text": "text", "label": "number"}, keys={"regression": True})
_SEPARATORS = (";", "|", ",")
_NAMES_OF_SEVERAL = frozenset({"labels", "tags", "topics", "categories", "genres", "classes"})


class ClassificationDraft(TaskDraft):
    FORMS: ClassVar[tuple[Form, ...]] = (_LABELS, _LABEL, _NUMBER)
    EXAMPLE: ClassVar[Example] = Example("builtin:python-docs", Match({"text": "docstring"}))
    MODELS: ClassVar[tuple[Published, ...]] = (DISTILBERT, XLM_ROBERTA)

    def by_layout(self, table: TableProfile) -> Recognised | None:
        layouts = (
            ("each row has a list of labels", unambiguous(_LABELS, table)),
            ("a column separates several labels", _separated_labels(table)),
            ("each label has a column of 0 and 1", _flag_columns(table)),
        )
        return next((Recognised(reason, match) for reason, match in layouts if match is not None), None)

    def by_names(self, table: TableProfile) -> Recognised | None:
        match = _labelled(table)
        return Recognised(_reason(table, match), match) if match is not None and match.by_name else None

    def by_values(self, table: TableProfile) -> Recognised | None:
        labels = [column for column in table.columns if column.is_label and not column.is_identifier]
        if len(labels) != 1 or not table.texts or labels == table.texts:
            return None
        match = _labelled(table)
        return None if match is None else Recognised(_reason(table, match), match)

    def match(self, table: TableProfile, given: Columns) -> Match | None:
        if isinstance(given.get("labels"), tuple):
            text = match_form(_TEXT, table, given=given, ask=None)
            return None if text is None else Match(text.columns, {"multilabel": True})
        if given:
            return None
        return _flag_columns(table) or _separated_labels(table) or _pair_with_label(table)


def _reason(table: TableProfile, match: Match) -> str:
    name = str(match.columns["label"])
    column = table.column(name)
    values = 0 if column is None else len(column.counts)
    if match.keys.get("regression"):
        return f"{name!r} has numbers"
    return (
        f"{name!r} has {values:,} different values in {table.rows:,} rows" if values > 1 else f"{name!r} has one value"
    )


def _labelled(table: TableProfile) -> Match | None:
    """A text, or a pair, with one label or a number."""
    return _pair_with_label(table) or unambiguous(_LABEL, table) or unambiguous(_NUMBER, table)


def _pair_with_label(table: TableProfile) -> Match | None:
    texts = pair_of(table)
    if texts is None:
        return None
    columns = dict(zip(("text", "text_pair"), texts, strict=True))
    for form in (_LABEL, _NUMBER):
        found = by_name("label", form.fields["label"], free_columns(table, columns))
        if found is not None:
            return Match({**columns, "label": found.name}, form.keys)
    return None


def _flag_columns(table: TableProfile) -> Match | None:
    """Two or more columns of 0 and 1 beside a text, and no column that is called a label."""
    flags = [column for column in table.columns if column.is_flag and not column.is_identifier]
    varied = [column for column in flags if len(column.counts) > 1]
    if len(varied) < 2 or not table.texts or by_name("label", "label", table.columns) is not None:
        return None
    names = tuple(column.name for column in flags)
    text = unambiguous(_TEXT, table)
    return None if text is None else Match({**text.columns, "labels": names}, {"multilabel": True})


def _separated_labels(table: TableProfile) -> Match | None:
    """A column such as `crime;drama`, whose parts occur again and again."""
    for column in table.columns:
        if not _NAMES_OF_SEVERAL & set(column.words) or not column.is_text:
            continue
        for separator in _SEPARATORS:
            parts = [part.strip() for value in column.values for part in str(value).split(separator)]
            if len(parts) > 1.2 * len(column.values) and len(set(parts)) <= len(parts) // 2:
                text = _text_beside(table, column)
                keys = {"multilabel": True, "label_separator": separator}
                return None if text is None else Match({"text": text, "labels": column.name}, keys)
    return None


def _text_beside(table: TableProfile, column: Column) -> str | None:
    others = [text for text in table.texts if text is not column]
    found = by_name("text", "text", others)
    return found.name if found is not None else (others[0].name if len(others) == 1 else None)

"""Which columns of a table are those of a task: by their names, else by their values. Never a guess between equals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from llmkit.api.drafts.profiles import Column, TableProfile
from llmkit.errors import UsageError
from llmkit.recipe.blocks import ColumnType

Ask = Callable[[str, Sequence[str]], str]
"""(question, choices) -> one of the choices."""

NAMES: Mapping[str, tuple[str, ...]] = {
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
    "tags": ("tag", "labels", "ner", "pos"),
    "spans": ("entities", "label", "annotations", "labels"),
    "source": ("src", "input", "text"),
    "target": ("tgt", "output", "label", "corrected", "correction"),
}  # fmt: skip
"""Field of a task -> words of names that such columns usually have, the usual one first."""
_PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"), ("text", "text_pair"))
"""Names of the two texts of a pair."""
_TWICE = 2.0
"""A text is the longer one if it has this many times the characters of the next."""


@dataclass(frozen=True)
class Form:
    """One way in which rows of a task are written."""

    fields: Mapping[str, ColumnType]
    """Fields that each row has."""
    optional: tuple[str, ...] = ()
    """Texts that are used only under a usual name."""
    keys: Mapping[str, object] = field(default_factory=dict)
    """Keys that a recipe for such rows has."""


@dataclass(frozen=True)
class Match:
    """Columns for all fields of a form."""

    columns: Mapping[str, str | tuple[str, ...]]
    keys: Mapping[str, object] = field(default_factory=dict)
    by_name: bool = True
    """Whether the names alone said so."""


def suits(column: Column, field_name: str, kind: ColumnType) -> bool:
    """Whether a column can be a field of this type."""
    match kind:
        case "text":
            return column.is_text
        case "label":
            # The answer to a question is named by an index, a letter or its text, which may all differ.
            return column.is_label or (field_name == "answer" and "label" in column.types)
        case "number":
            return "number" in column.types
        case "answers":
            return bool(column.types & {"answers", "text", "words"})  # text may be a number; words: several answers
        case _:
            return kind in column.types


def match_form(
    form: Form, table: TableProfile, *, task: str, given: Mapping[str, str | tuple[str, ...]], ask: Ask | None
) -> Match | None:
    """The columns of a form; None if the table has none for some field.

    Args:
        given: columns that the user has named.
        ask: asks the user which of several columns it is.
    Raises:
        UsageError: several columns could be meant, and nobody can be asked.
    """
    columns: dict[str, str | tuple[str, ...]] = dict(given)
    missing = [name for name in form.fields if name not in columns]
    for name in missing:
        found = by_name(name, form.fields[name], free_columns(table, columns))
        if found is not None:
            columns[name] = found.name
    unnamed = [name for name in missing if name not in columns]
    choices = {name: _fitting(name, form.fields[name], free_columns(table, columns)) for name in unnamed}
    if not all(choices.values()):
        return None
    for name in unnamed:
        left = [column for column in choices[name] if column.name not in used(columns)]
        if not left:
            return None
        columns[name] = _by_value(name, form.fields[name], left, table=table, task=task, ask=ask).name
    columns |= _optional(form, table, columns)
    return Match(columns, form.keys, by_name=not unnamed)


def used(columns: Mapping[str, str | tuple[str, ...]]) -> set[str]:
    """Names of the columns that are fields already."""
    return {name for value in columns.values() for name in ((value,) if isinstance(value, str) else value)}


def free_columns(table: TableProfile, columns: Mapping[str, str | tuple[str, ...]]) -> list[Column]:
    """The columns that are no field yet."""
    return [column for column in table.columns if column.name not in used(columns)]


def by_name(field_name: str, kind: ColumnType, columns: Sequence[Column]) -> Column | None:
    """The column of the field's own or another usual name; names of several words come last."""
    fitting = [column for column in columns if suits(column, field_name, kind) or _is_named_label(column, kind)]
    usual = (field_name, *NAMES.get(field_name, ()))
    for matches in (_is_called, _has_word):
        for name in usual:
            found = next((column for column in fitting if matches(column, name)), None)
            if found is not None:
                return found
    return None


def pair_of(table: TableProfile) -> tuple[str, str] | None:
    """Two texts that are usually classified together, by their names."""
    for first, second in _PAIRS:
        found = [next((column for column in table.texts if _is_called(column, name)), None) for name in (first, second)]
        if found[0] is not None and found[1] is not None:
            return found[0].name, found[1].name
    return None


def _optional(form: Form, table: TableProfile, columns: Mapping[str, str | tuple[str, ...]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in form.optional:
        if name in columns:
            continue
        column = by_name(name, "text", free_columns(table, {**columns, **found}))
        if column is not None:
            found[name] = column.name
    return found


def _is_named_label(column: Column, kind: ColumnType) -> bool:
    """A column that is called a label may have as many labels as rows, in a small file, or only one."""
    return kind == "label" and column.could_be_label and not column.is_measured


def _is_called(column: Column, name: str) -> bool:
    return "".join(column.words) == name.replace("_", "") or column.name.casefold() == name


def _has_word(column: Column, name: str) -> bool:
    return name in column.words


def _fitting(field_name: str, kind: ColumnType, columns: Sequence[Column]) -> list[Column]:
    fitting = [column for column in columns if suits(column, field_name, kind)]
    return [column for column in fitting if not column.is_identifier] or fitting


def _by_value(
    field_name: str, kind: ColumnType, columns: Sequence[Column], *, table: TableProfile, task: str, ask: Ask | None
) -> Column:
    """The only column that fits, or a text that is much longer than the others.

    Raises:
        UsageError: there are several, and nobody can be asked.
    """
    if len(columns) == 1:
        return columns[0]
    longest = sorted(columns, key=lambda column: column.characters, reverse=True)
    if kind == "text" and field_name in ("text", "context") and task != "text-to-text":
        if longest[0].characters >= _TWICE * longest[1].characters:
            return longest[0]
    elif kind == "text" and len(columns) <= 2 and task in ("text-to-text", "instruction", "translation"):
        return columns[0]  # what is written is usually to the right of what is read
    names = [column.name for column in columns]
    if ask is None:
        raise UsageError(
            f"{table.source}: {' or '.join(map(repr, names))} could be the {field_name!r} of {task}. Name it: "
            f"--column {field_name}=NAME"
        )
    answer = ask(f"Which column is the {field_name!r} of {task}?", names)
    return next(column for column in columns if column.name == answer)

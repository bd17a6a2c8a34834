"""Which task a table is for, by the layout of its rows and the names of its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llmkit.api.drafts.forms import (
    CONTEXT,
    FORMS,
    flag_columns,
    found_answers,
    match_task,
    pair_with_label,
    separated_labels,
    translation_columns,
    unambiguous,
    word_rows,
)
from llmkit.api.drafts.matching import Ask, Match, by_name, match_form, used
from llmkit.api.drafts.profiles import TableProfile
from llmkit.errors import UsageError
from llmkit.tasks import PRETRAINING

_SUMMARIES = ("summary", "highlights", "tldr", "abstract")
_TEXTS_TO_TEXTS = (
    ("source", "target"),
    ("src", "tgt"),
    ("input", "output"),
    ("text", "target"),
    ("draft", "corrected"),
)


@dataclass(frozen=True)
class Recognised:
    """A task that a table is for."""

    task: str
    reason: str
    """Why, for people."""
    match: Match


def recognise(table: TableProfile, *, ask: Ask | None) -> Recognised:
    """The task that the table is for, and its columns.

    Raises:
        UsageError: none or several fit, and nobody can be asked.
    """
    layout = next(_by_layout(table), None)
    if layout is not None:
        return layout
    named = list(_by_names(table))
    if len(named) == 1:
        return named[0]
    tasks = [found.task for found in named] or _possible(table)
    if not named:
        fallback = _by_values(table)
        if fallback is not None:
            return fallback
    names = ", ".join(repr(column.name) for column in table.columns) or "none"
    if ask is None:
        raise UsageError(
            f"{table.source}: the columns {names} do not decide the task. Name it: llmkit init TASK --data ..., such as "
            f"{' or '.join(tasks[:4])}."
        )
    task = ask(f"{table.source} has the columns {names}. Which task?", tasks)
    known = next((found for found in named if found.task == task), None)
    return known or Recognised(task, "you chose it", match_task(task, table, given={}, ask=ask))


def _possible(table: TableProfile) -> list[str]:
    """The tasks for which the table has columns of the right types, those that need no more than text last."""
    fitting = [
        task
        for task, forms in FORMS.items()
        if any(match_form(form, table, task=task, given={}, ask=_first) is not None for form in forms)
    ]
    return sorted(fitting, key=lambda task: task in PRETRAINING) or list(FORMS)


def _first(question: str, choices: Sequence[str]) -> str:
    return choices[0]


def _by_layout(table: TableProfile) -> Iterator[Recognised]:
    """Tasks whose rows have a form of their own."""
    if table.format == "conll":
        yield Recognised("token-classification", "CoNLL has a word and its tags in each line", Match({}))
    if table.format == "text":
        yield Recognised("causal-lm", "plain text has no labels, so a model learns to continue it", Match({}))
    checks: tuple[tuple[str, str, Callable[[TableProfile], Match | None]], ...] = (
        ("instruction", "a column has conversations", lambda table: unambiguous("instruction", 0, table)),
        ("question-answering", "answers are parts of a context", found_answers),
        ("multiple-choice", "each row has choices and an answer", _choices),
        (
            "token-classification",
            "a column has labelled spans",
            lambda table: unambiguous("token-classification", 1, table),
        ),
        ("token-classification", "words and tags are lists of the same lengths", _lists_of_tags),
        ("token-classification", "each row has a word and its tag", word_rows),
        ("classification", "each row has a list of labels", lambda table: unambiguous("classification", 0, table)),
        ("classification", "a column separates several labels", separated_labels),
        ("classification", "each label has a column of 0 and 1", flag_columns),
    )
    for task, reason, find in checks:
        found = find(table)
        if found is not None:
            yield Recognised(task, reason, found)


def _by_names(table: TableProfile) -> Iterator[Recognised]:
    """Tasks for which all columns have usual names."""
    prompts = unambiguous("instruction", 1, table)
    if prompts is not None and prompts.by_name:
        yield Recognised("instruction", f"{_listed(prompts)} are a prompt and its response", prompts)
    pair = None if prompts is not None and prompts.by_name else _named_pair(table)
    if pair is not None:
        yield Recognised("text-to-text", f"{_listed(pair)} are a text and what to write for it", pair)
    languages = translation_columns(table, {})
    if languages is not None:
        yield Recognised("translation", f"{_listed(languages)} are languages", languages)
    summary = unambiguous("summarization", 0, table)
    if summary is not None and str(summary.columns["summary"]).rpartition(".")[2].casefold() in _SUMMARIES:
        yield Recognised("summarization", f"{summary.columns['summary']!r} is a summary", summary)
    labelled = _labelled(table)
    if (
        labelled is not None
        and labelled.by_name
        and (pair is None or labelled.columns["label"] not in used(pair.columns))
    ):
        yield Recognised("classification", _label_reason(table, labelled), labelled)


def _by_values(table: TableProfile) -> Recognised | None:
    labels = [column for column in table.columns if column.is_label and not column.is_identifier]
    if len(labels) == 1 and table.texts and labels != table.texts:
        found = _labelled(table)
        if found is not None:
            return Recognised("classification", _label_reason(table, found), found)
    if len(table.texts) == 1 and not labels:
        return Recognised(
            "causal-lm", f"{table.texts[0].name!r} is the only text, and there are no labels", _text(table)
        )
    return None


def _label_reason(table: TableProfile, match: Match) -> str:
    name = str(match.columns["label"])
    column = table.column(name)
    values = 0 if column is None else len(column.counts)
    if match.keys.get("regression"):
        return f"{name!r} has numbers"
    return f"{name!r} has {values:,} different values in {table.rows:,} rows"


def _text(table: TableProfile) -> Match:
    return Match({"text": table.texts[0].name}, by_name=False)


def _labelled(table: TableProfile) -> Match | None:
    """A text, or a pair, with one label or a number."""
    return pair_with_label(table) or unambiguous("classification", 1, table) or unambiguous("classification", 2, table)


def _choices(table: TableProfile) -> Match | None:
    found = unambiguous("multiple-choice", 0, table) or unambiguous("multiple-choice", 1, table)
    if found is None or not found.by_name or not found.columns.keys() & set(CONTEXT):
        return None
    return found


def _lists_of_tags(table: TableProfile) -> Match | None:
    """Two columns of lists that have the same length in each row."""
    words = by_name("words", "words", table.columns)
    if words is None:
        return None
    tags = by_name("tags", "labels", [column for column in table.columns if column is not words])
    if tags is None or len(tags.values) != len(words.values):
        return None
    lengths = [[_length(value) for value in column.values] for column in (words, tags)]
    return Match({"words": words.name, "tags": tags.name}) if lengths[0] == lengths[1] else None


def _length(value: object) -> int:
    from llmkit.data.column_types import labels

    return len(labels(value) or ())


def _named_pair(table: TableProfile) -> Match | None:
    """A text and a text to write for it, by their names."""
    for names in _TEXTS_TO_TEXTS:
        found = [next((text for text in table.texts if "".join(text.words) == name), None) for name in names]
        if found[0] is not None and found[1] is not None and not found[1].is_label:
            return Match({"text": found[0].name, "target": found[1].name})
    return None


def _listed(match: Match) -> str:
    return " and ".join(repr(column) for column in match.columns.values())

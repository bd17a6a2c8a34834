"""The ways in which rows of each task are written, and the columns of a table that are one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from llmkit.api.drafts.matching import Ask, Form, Match, by_name, free_columns, match_form, pair_of, used
from llmkit.api.drafts.profiles import Column, TableProfile
from llmkit.errors import UsageError
from llmkit.recipe.languages import language_code
from llmkit.tasks import PRETRAINING

_ENDINGS = tuple(f"ending{number}" for number in range(10))
CONTEXT = ("context", "question")
_SEPARATORS = (";", "|", ",")
FORMS: Mapping[str, tuple[Form, ...]] = {
    **dict.fromkeys(PRETRAINING, (Form({"text": "text"}),)),
    "classification": (
        Form({"text": "text", "labels": "labels"}, keys={"multilabel": True}),
        Form({"text": "text", "label": "label"}),
        Form({"text": "text", "label": "number"}, keys={"regression": True}),
    ),
    "instruction": (
        Form({"messages": "messages"}),
        Form({"prompt": "text", "response": "text"}, optional=("input",)),
    ),
    "multiple-choice": (
        Form({"choices": "words", "answer": "label"}, optional=CONTEXT),
        Form({"ending0": "text", "ending1": "text", "answer": "label"}, optional=(*CONTEXT, *_ENDINGS[2:])),
        Form({"context": "text", "answer": "text"}, keys={"distractors": 3}),
    ),
    "question-answering": (Form({"context": "text", "question": "text", "answers": "answers"}),),
    "summarization": (Form({"text": "text", "summary": "text"}),),
    "text-to-text": (Form({"text": "text", "target": "text"}, optional=("prefix",)),),
    "token-classification": (
        Form({"words": "words", "tags": "labels"}),
        Form({"text": "text", "spans": "spans"}),
    ),
    "translation": (Form({"source": "text", "target": "text"}),),
}
"""Task -> the ways in which its rows are written, in the order in which they are tried."""
_LANGUAGE_NOISE = frozenset({"text", "sentence", "source", "target", "src", "tgt", "translation"})

_SEPARATORS = (";", "|", ",")


def match_task(task: str, table: TableProfile, *, given: Mapping[str, str | tuple[str, ...]], ask: Ask | None) -> Match:
    """The columns of a task that the user has named.

    Raises:
        UsageError: the table lacks them, or several could be meant.
    """
    special = _special_match(task, table, given)
    if special is not None:
        return special
    forms = [form for form in FORMS[task] if given.keys() <= {*form.fields, *form.optional, *_also(task)}]
    for form in forms:
        found = match_form(form, table, task=task, given=given, ask=ask)
        if found is not None:
            return found
    fields = " and ".join(f"'{name}'" for name in (forms or FORMS[task])[-1 if task == "instruction" else 0].fields)
    names = ", ".join(repr(column.name) for column in table.columns) or "none"
    raise UsageError(
        f"{table.source}: no columns for {fields} of {task}; found {names}. Name them with --column FIELD=COLUMN, or choose "
        "another task."
    )


def unambiguous(task: str, number: int, table: TableProfile) -> Match | None:
    """The columns of one form; None also where several columns could be meant."""
    try:
        return match_form(FORMS[task][number], table, task=task, given={}, ask=None)
    except UsageError:
        return None


def language_of(name: str) -> str | None:
    """The code of the language that a column's name says: `de` for `de`, `text_de` and `translation.de`."""
    words = [word for word in re.split(r"[^\w]+|_", name.rpartition(".")[2]) if word]
    left = [word for word in words if word.casefold() not in _LANGUAGE_NOISE]
    if len(left) != 1 or not left[0].isalpha():
        return None
    try:
        return language_code(left[0])
    except ValueError:
        return None


def option_columns(
    options: Sequence[str], *, fields: Sequence[str], table: TableProfile
) -> dict[str, str | tuple[str, ...]]:
    """The columns of `--column FIELD=COLUMN`; a field that is given several times has them all.

    Raises:
        UsageError: another form, an unknown field or column.
    """
    columns: dict[str, list[str]] = {}
    names = [column.name for column in table.columns]
    for option in options:
        name, separator, column = option.partition("=")
        if not separator or name not in fields:
            raise UsageError(f"--column {option}: write FIELD=COLUMN, with one of the fields {', '.join(fields)}.")
        if column not in names:
            raise UsageError(
                f"--column {option}: {table.source} has no such column; found {', '.join(map(repr, names))}."
            )
        columns.setdefault(name, []).append(column)
    return {name: found[0] if len(found) == 1 else tuple(found) for name, found in columns.items()}


def _also(task: str) -> tuple[str, ...]:
    """Fields of a task that no form has."""
    return {"classification": ("text_pair",), "token-classification": ("sentence",)}.get(task, ())


def _special_match(task: str, table: TableProfile, given: Mapping[str, str | tuple[str, ...]]) -> Match | None:
    """Layouts that are no columns with one value each."""
    if task == "token-classification" and not given:
        return Match({}) if table.format == "conll" else word_rows(table)
    if task == "translation":
        return translation_columns(table, given)
    if task == "classification" and isinstance(given.get("labels"), tuple):
        text = match_form(Form({"text": "text"}), table, task=task, given=given, ask=None)
        return None if text is None else Match(text.columns, {"multilabel": True})
    if task == "classification" and not given:
        return next((find(table) for find in (flag_columns, separated_labels, pair_with_label) if find(table)), None)
    if task == "question-answering" and "answers" not in given:
        return found_answers(table, given)
    return None


def pair_with_label(table: TableProfile) -> Match | None:
    texts = pair_of(table)
    if texts is None:
        return None
    columns = dict(zip(("text", "text_pair"), texts, strict=True))
    for kind, keys in (("label", {}), ("number", {"regression": True})):
        found = by_name("label", kind, free_columns(table, columns))  # type: ignore[arg-type]  # two of the types
        if found is not None:
            return Match({**columns, "label": found.name}, keys)
    return None


def flag_columns(table: TableProfile) -> Match | None:
    """Two or more columns of 0 and 1 beside a text, and no column that is called a label."""
    flags = [column for column in table.columns if column.is_flag and not column.is_identifier]
    varied = [column for column in flags if len(column.counts) > 1]
    if len(varied) < 2 or not table.texts or by_name("label", "label", table.columns) is not None:
        return None
    names = tuple(column.name for column in flags)
    text = unambiguous("causal-lm", 0, table)
    return None if text is None else Match({**text.columns, "labels": names}, {"multilabel": True})


def separated_labels(table: TableProfile) -> Match | None:
    """A column such as `crime;drama`, whose parts occur again and again."""
    for column in table.columns:
        if (
            not {"labels", "tags", "topics", "categories", "genres", "classes"} & set(column.words)
            or not column.is_text
        ):
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


def found_answers(table: TableProfile, given: Mapping[str, str | tuple[str, ...]] | None = None) -> Match | None:
    """Answers with their places, or texts that stand in the context."""
    form = FORMS["question-answering"][0]
    try:
        found = match_form(form, table, task="question-answering", given=given or {}, ask=None)
    except UsageError:
        return None
    answers, context = (
        None if found is None else table.column(str(found.columns[name])) for name in ("answers", "context")
    )
    if found is None or answers is None or context is None:
        return None
    if "answers" in answers.types:
        return found
    if not found.by_name and not given:
        return None
    pairs = [
        (answer, str(text))
        for value, text in zip(answers.values, context.values, strict=False)
        for answer in (value if isinstance(value, list) else [str(value)])
    ]
    inside = sum(answer in text for answer, text in pairs)
    return found if len(answers.values) == len(context.values) and inside > 0.8 * len(pairs) else None


def word_rows(table: TableProfile) -> Match | None:
    """A word and a tag in each row, and a column that says which words form a sentence."""
    if table.sentence is None:
        return None
    others = [column for column in table.columns if column.name != table.sentence]
    words = next(
        (column for column in others if column.is_text and {"words", "word", "token", "tokens"} & set(column.words)),
        None,
    )
    if words is None:
        return None
    tags = by_name("tags", "label", [column for column in others if column is not words])
    return None if tags is None else Match({"words": words.name, "tags": tags.name, "sentence": table.sentence})


def translation_columns(table: TableProfile, given: Mapping[str, str | tuple[str, ...]]) -> Match | None:
    """Two texts whose columns are called as languages, the first of them the source."""
    columns = {name: str(column) for name, column in given.items()}
    named = [column.name for column in table.texts if language_of(column.name) and column.name not in used(columns)]
    for name in ("source", "target"):
        if name not in columns and named:
            columns[name] = named.pop(0)
    languages = [language_of(columns.get(name, "")) for name in ("source", "target")]
    several = named and not given
    return None if several or None in languages or languages[0] == languages[1] else Match(columns)

"""The types of values in a task's columns: each converts a value of a file to plain values, or rejects it.

A new type is a function here, a line in `READERS` and a name in `recipe.blocks.ColumnType`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmkit.data.readers import parse_json
from llmkit.recipe.blocks import ColumnType

Read = Callable[[object], Any]
"""The value for the task, or None if it has another type."""


def text(value: object) -> str | None:
    """Text, unchanged; a blank text is accepted, and its row is skipped and counted."""
    return value if isinstance(value, str) else None


def label(value: object) -> str | None:
    """The name of a label: text that is not blank, or a whole number or truth value as JSON writes it."""
    if isinstance(value, str):
        return value if value.strip() else None
    return json.dumps(value) if isinstance(value, int) else None


def flag(value: object) -> bool | None:
    """A truth value: true or false, 1 or 0, as such or as text."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if isinstance(value, bool):
        return value
    return {0.0: False, 1.0: True}.get(parsed) if (parsed := number(value)) is not None else None


def flags(value: object) -> list[bool] | None:
    """Truth values in order: a list, or a JSON list in a CSV or TSV file."""
    return _each(_listed(value), flag)


def labels(value: object) -> list[str] | None:
    """Names of labels, possibly empty: a list, or a JSON list in a CSV or TSV file."""
    return _each(_listed(value), label)


def number(value: object) -> float | None:
    """A finite number, or text that spells one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and "_" in value:  # 1_000 is a number in Python only
        return None
    try:
        parsed = float(value)
    except (ValueError, OverflowError):
        return None
    return parsed if math.isfinite(parsed) else None


def words(value: object) -> list[str] | None:
    """Texts in order, none of them blank: a list, or a JSON list in a CSV or TSV file."""
    return _each(_listed(value), _filled_text)


def texts(value: object) -> list[str] | None:
    """Texts in order, including blank ones: a list, or a JSON list in a CSV or TSV file."""
    return _each(_listed(value), text)


def spans(value: object) -> list[dict[str, Any]] | None:
    """Labelled spans of a text, possibly empty: a list of objects, or such a JSON list in a CSV or TSV file.

    A span is an object with `start`, `end` and `label`, as doccano and Label Studio write it too, or a list of the
    three. The end is exclusive. A `text` of its own stays; other keys are ignored.
    """
    value = _listed(value)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Mapping) and "result" in value[0]:
        value = value[0]["result"]  # the one annotation of a task of Label Studio
    return _each(value, _span)


def answers(value: object) -> dict[str, list[Any]] | None:
    """Answers and their starts, in characters from 0: `{"text": [...], "answer_start": [...]}` or a list of objects.

    Either may be empty. In a CSV or TSV file, either of them as JSON.
    """
    value = _listed(value)
    if isinstance(value, list):
        if not all(isinstance(answer, dict) and {"text", "answer_start"} <= answer.keys() for answer in value):
            return None
        value = {key: [answer[key] for answer in value] for key in ("text", "answer_start")}
    if not isinstance(value, dict):
        return None
    answer_texts = _each(value.get("text"), _filled_text)
    starts = _each(value.get("answer_start"), _offset)
    if answer_texts is None or starts is None or len(answer_texts) != len(starts):
        return None
    return {"text": answer_texts, "answer_start": starts}


def messages(value: object) -> list[dict[str, str]] | None:
    """A conversation: objects with a `role` and a `content`, both texts, or the text of such a JSON list.

    The task checks that the roles alternate. Other keys of a message are ignored.
    """
    return _each(_listed(value), _message)


def anything(value: object) -> list[object]:
    """The value itself, in a list of one, so that null is a value too."""
    return [value]


READERS: Mapping[ColumnType, Read] = {
    "text": text,
    "label": label,
    "labels": labels,
    "flag": flag,
    "number": number,
    "words": words,
    "spans": spans,
    "answers": answers,
    "messages": messages,
    "any": anything,
}
TEXT_TYPES: frozenset[ColumnType] = frozenset({"text", "words", "messages"})
"""Types with texts that a model reads or generates and a tokenizer is trained on."""
DESCRIPTIONS: Mapping[ColumnType, str] = {
    "text": "text",
    "label": "a label",
    "labels": 'a list of labels, such as ["a", "b"]',
    "flag": "0 or 1, or true or false",
    "number": "a number",
    "words": "a list of words, none of them empty",
    "spans": 'a list of objects such as {"start": 0, "end": 5, "label": "NAME"}',
    "answers": 'such as {"text": ["1912"], "answer_start": [17]}, with empty lists for no answer',
    "messages": 'a list of messages such as {"role": "user", "content": "..."}',
    "any": "any value",
}
"""Descriptions of the types, for messages."""


def texts_in(value: Any) -> Iterator[str]:
    """Every text inside a value, in order, the names of roles included: what a tokenizer is trained on, and what must
    be valid Unicode."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def _span(value: object) -> dict[str, Any] | None:
    if isinstance(value, list) and len(value) == 3:
        value = dict(zip(("start", "end", "label"), value, strict=True))
    if isinstance(value, Mapping) and isinstance(value.get("value"), Mapping):
        value = value["value"]
    if not isinstance(value, Mapping):
        return None
    bounds = {key: value.get(key, value.get(f"{key}_offset")) for key in ("start", "end")}
    several = value.get("labels")
    named = label(several[0] if isinstance(several, list) and len(several) == 1 else value.get("label"))
    if named is None or any(isinstance(place, bool) or not isinstance(place, int) for place in bounds.values()):
        return None
    own_text = {"text": value["text"]} if isinstance(value.get("text"), str) else {}
    return {**bounds, "label": named, **own_text}


def texts_for_split(value: Any) -> Iterator[str]:
    """The texts that determine the split of a row: all of them except the answers of a conversation."""
    if isinstance(value, list) and all(isinstance(message, Mapping) for message in value):
        value = [message["content"] for message in value if message["role"] != "assistant"]
    yield from texts_in(value)


def _message(value: object) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        return None
    role, content = value.get("role"), value.get("content")
    return {"role": role, "content": content} if isinstance(role, str) and isinstance(content, str) else None


def parsed_list(text: str) -> list[Any] | None:
    """The list that a text writes as JSON; None for any other text."""
    try:
        parsed = parse_json(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, list) else None


def _listed(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_json(value)
        except ValueError:
            return None
    return value


def _filled_text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _offset(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _each(values: object, read: Read) -> list[Any] | None:
    if not isinstance(values, list):
        return None
    parsed = [read(value) for value in values]
    return None if any(value is None for value in parsed) else parsed

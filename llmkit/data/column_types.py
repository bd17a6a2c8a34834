"""The types of values in a task's columns: each converts a value of a file to plain values, or rejects it.

A new type is a function here, a line in `READERS` and a name in `recipe.blocks.ColumnType`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from llmkit.data.json_lines import parse_json
from llmkit.recipe.blocks import ColumnType

Read = Callable[[object], Any]
"""The value for the task; None, or a ValueFault that says why, if it has another type."""
_ROLES = {"human": "user", "gpt": "assistant"}
"""As ShareGPT's conversations name them -> the names of chat templates."""
_SHOWN = 80
_EXACT_FLOAT = 2**53
"""The largest float below which every whole number is one."""


class ValueFault(ValueError):
    """What is wrong inside a value; the caller adds the place and the column."""


def text(value: object) -> str | None:
    """Text, unchanged; a blank text is accepted, and its row is skipped and counted."""
    return value if isinstance(value, str) else None


def label(value: object) -> str | None:
    """The name of a label: text that is not blank, or a whole number (1.0 is 1) or truth value as JSON writes it."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_FLOAT:
        value = int(value)
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


def answers(value: object) -> dict[str, list[Any]]:
    """Answers and their starts, in characters from 0; a start that is not given is None. Both may be empty.

    `{"text": [...], "answer_start": [...]}`, a list of such objects or of texts, a text, or null, which is no answer. An
    empty text is no answer either. In a CSV or TSV file, JSON or the text of the answer.

    Raises:
        ValueFault: something else.
    """
    if isinstance(value, str):
        value = _answer_cell(value)
    if value is None:
        return {"text": [], "answer_start": []}
    found: list[tuple[str, int | None]] = []
    for number, item in enumerate(_answer_items(value), 1):
        answer, start = item
        if answer is None or (isinstance(answer, str) and not answer.strip()):
            continue
        if not isinstance(answer, str):
            raise ValueFault(f"answer {number} is {shown(answer)}, not text")
        if start is not None and (isinstance(start, bool) or not isinstance(start, int)):
            raise ValueFault(f"the answer_start of answer {number} is {shown(start)}, not a whole number")
        found.append((answer, None if start is None or start < 0 else start))
    return {"text": [answer for answer, _ in found], "answer_start": [start for _, start in found]}


def _answer_cell(text: str) -> object:
    """The JSON list or object in a cell, or the text of an answer."""
    if not text.lstrip().startswith(("{", "[")):
        return text or None
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueFault(f"{shown(text)} is not JSON: {error}") from error


def _answer_items(value: object) -> list[tuple[object, object]]:
    """The text and the start of each answer, not yet checked."""
    if isinstance(value, str):
        return [(value, None)]
    if isinstance(value, list):
        return [item for part in value for item in (_answer_items(part) if part is not None else [])]
    if not isinstance(value, Mapping):
        raise ValueFault(f"{shown(value)} is not an answer")
    if "text" not in value:
        raise ValueFault(f"no 'text' in {shown(value)}")
    texts, starts = value["text"], value.get("answer_start")
    if not isinstance(texts, list):
        return [(texts, starts[0] if isinstance(starts, list) and len(starts) == 1 else starts)]
    if starts is None:
        starts = [None] * len(texts)
    if not isinstance(starts, list) or len(starts) != len(texts):
        raise ValueFault(f"'text' has {len(texts)} answers, and 'answer_start' is {shown(starts)}")
    return list(zip(texts, starts, strict=True))


def messages(value: object) -> list[dict[str, str]]:
    """A conversation: objects with a `role` and a `content`, or with `from` and `value`, or the text of such a JSON list.

    A content is a text or a list of parts such as `{"type": "text", "text": ...}`, which become lines. The roles `human`
    and `gpt` become `user` and `assistant`. The task checks that the roles alternate. Other keys are ignored.

    Raises:
        ValueFault: something else.
    """
    parsed = _listed(value)
    if not isinstance(parsed, list):
        raise ValueFault(f"{shown(value)} is not a list of messages")
    return [_message(message, number) for number, message in enumerate(parsed, 1)]


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


def _message(value: object, number: int) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueFault(f"message {number} is {shown(value)}, not an object")
    fields = {}
    for field, names in (("role", ("role", "from")), ("content", ("content", "value"))):
        name = next((name for name in names if name in value), None)
        if name is None:
            raise ValueFault(f"message {number} has no {field!r}: {shown(value)}")
        fields[field] = value[name]
    role, content = fields["role"], fields["content"]
    if not isinstance(role, str):
        raise ValueFault(f"the role of message {number} is {shown(role)}, not text")
    if isinstance(content, list):
        content = "\n".join(_part(part, number) for part in content)
    if not isinstance(content, str):
        raise ValueFault(f"the content of message {number} is {shown(content)}, not text")
    return {"role": _ROLES.get(role, role), "content": content}


def _part(part: object, number: int) -> str:
    """The text of a part of a message."""
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    raise ValueFault(f"the content of message {number} has a part that is not text: {shown(part)}")


def shown(value: object) -> str:
    """A value as JSON for messages, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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


def _each(values: object, read: Read) -> list[Any] | None:
    if not isinstance(values, list):
        return None
    parsed = [read(value) for value in values]
    return None if any(value is None for value in parsed) else parsed

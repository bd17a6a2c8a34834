"""JSON files: a list of rows, or the nested layout of SQuAD 1 and 2: articles, paragraphs, questions.

`[{...}, ...]` or `{"data": [{...}, ...]}`, where an item is a row, or an article as in SQuAD: `{"title", "paragraphs":
[{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}], "is_impossible"}]}]}` (Rajpurkar et al. 2016
and 2018), or one of its paragraphs. Checks the layout; `column_types.py` checks the values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmkit.data.column_types import ValueFault, answers, shown
from llmkit.data.files import text_lines
from llmkit.data.json_lines import json_kind, parse_json
from llmkit.data.readers import BadRecord, Record
from llmkit.errors import DataError

_LAYOUT = "A .json file is a list of rows, which are objects, or has the layout of SQuAD; a .jsonl file has an object per line."
_OTHER_NAMES = {"context": "context_text", "question": "query_text", "id": "query_id"}
"""The keys of CMRC 2018 -> those of SQuAD."""


class _Fault(ValueError):
    """What is wrong with an article, a paragraph or a question, with its path."""


def read_json(path: Path, name: str) -> Iterator[Record]:
    """One record per row or question, numbered from 0. The file is loaded whole.

    A question has the columns `id`, `title`, `context`, `question` and `answers`. One that `is_impossible` has no
    answers, and its `plausible_answers` are ignored.

    Raises:
        DataError: not JSON, or not a list of objects.
    """
    items = _items(_load(path, name), name)
    nested = any(isinstance(item, Mapping) and not item.keys().isdisjoint(("paragraphs", "qas")) for item in items)
    return enumerate(_questions(items) if nested else map(_row, items))


def _load(path: Path, name: str) -> object:
    text = "".join(text_lines(path, name, translate=True))
    if not text.strip():
        return []
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        fix = "Rename the file to .jsonl." if _is_object(text.lstrip().partition("\n")[0]) else _LAYOUT
        fault = f"not valid JSON: {error.msg} at column {error.colno}."
        raise DataError(f"{name}:{error.lineno}: {fault} {fix}") from error
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def _items(content: object, name: str) -> list[Any]:
    if isinstance(content, Mapping) and not content.keys().isdisjoint(("paragraphs", "qas")):
        return [content]
    where = ""
    if isinstance(content, Mapping):
        if "data" not in content:
            keys = ", ".join(repr(key) for key in list(content)[:5]) or "nothing"
            raise DataError(f"{name}: an object without 'data'; found {keys}. {_LAYOUT}")
        content, where = content["data"], "'data': "
    if not isinstance(content, list):
        raise DataError(f"{name}: {where}expected an array, found {json_kind(content)}. {_LAYOUT}")
    return content


def _row(item: object) -> Mapping[str, object] | BadRecord:
    if isinstance(item, Mapping):
        return item
    return BadRecord(f"expected an object, found {json_kind(item)}.", "another JSON value than an object", item)


def _questions(items: list[Any]) -> Iterator[Mapping[str, object] | BadRecord]:
    for index, item in enumerate(items):
        place = f"data[{index}]"
        try:
            title = str(_mapping(item, place).get("title", ""))
            paragraphs = [(place, item)]
            if "qas" not in item:
                parts = _list(item, "paragraphs", place)
                paragraphs = [(f"{place}.paragraphs[{number}]", part) for number, part in enumerate(parts)]
        except _Fault as fault:
            yield BadRecord(str(fault), "another layout than SQuAD's", item)
            continue
        for where, paragraph in paragraphs:
            yield from _questions_of(paragraph, where, title)


def _questions_of(paragraph: object, place: str, title: str) -> Iterator[Mapping[str, object] | BadRecord]:
    try:
        context, questions = _value(paragraph, "context", place), _list(paragraph, "qas", place)
    except _Fault as fault:
        yield BadRecord(str(fault), "another layout than SQuAD's", paragraph)
        return
    for index, question in enumerate(questions):
        where = f"{place}.qas[{index}]"
        try:
            yield {
                "id": str(_mapping(question, where).get("id", question.get("query_id", ""))),
                "title": title,
                "context": context,
                "question": _value(question, "question", where),
                "answers": _answers(question, where),
            }
        except _Fault as fault:
            yield BadRecord(str(fault), "another layout than SQuAD's", {"context": context, "question": question})


def _answers(question: Mapping[str, Any], place: str) -> object:
    impossible = question.get("is_impossible", False)
    if not isinstance(impossible, bool):
        raise _Fault(f"{place}.is_impossible: expected true or false, found {shown(impossible)}.")
    given = question.get("answers") if impossible else _value(question, "answers", place)
    if not impossible:
        return given
    try:
        has_answers = bool(answers(given)["text"])
    except ValueFault:
        has_answers = True
    if has_answers:
        raise _Fault(f"{place}: is_impossible is true, but there are answers: {shown(given)}. Keep one of the two.")
    return []


def _mapping(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _Fault(f"{place}: expected an object, found {shown(value)}.")
    return value


def _value(parent: object, key: str, place: str) -> object:
    """The value of the key, or of its other name."""
    fields = _mapping(parent, place)
    other = _OTHER_NAMES.get(key, key)
    if key not in fields and other not in fields:
        keys = ", ".join(repr(name) for name in list(fields)[:5]) or "nothing"
        raise _Fault(f"{place}: no {key!r} here; found {keys}.")
    return fields[key] if key in fields else fields[other]


def _list(parent: object, key: str, place: str) -> list[Any]:
    value = _value(parent, key, place)
    if not isinstance(value, list):
        raise _Fault(f"{place}: {key!r}: expected an array, found {shown(value)}.")
    return value

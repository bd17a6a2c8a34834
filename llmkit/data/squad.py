"""The nested JSON format of SQuAD 1 and 2: articles, their paragraphs, the questions about each paragraph.

`{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}],
"is_impossible"}]}]}]}` (Rajpurkar et al. 2016 and 2018). Checks the layout; `column_types.py` checks the values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmkit.data.files import text_lines
from llmkit.data.readers import Record, json_kind, parse_json
from llmkit.errors import DataError

SQUAD_COLUMNS = ("id", "title", "context", "question", "answers")
_LAYOUT = "llmkit reads .json only in the layout of SQuAD; write other rows as .jsonl, one object per line."


def read_squad(path: Path, name: str) -> Iterator[Record]:
    """One record per question, numbered from 0, with the columns of `SQUAD_COLUMNS`. The file is loaded whole.

    A question that `is_impossible` has no answers, and its `plausible_answers` are ignored.

    Raises:
        DataError: not JSON, another layout, or a question that has answers and is impossible, with its path.
    """
    number = 0
    for where, paragraph, title in _paragraphs(_load(path, name), name):
        context = _text(paragraph, "context", where)
        for index, question in enumerate(_list(paragraph, "qas", where)):
            place = f"{where}.qas[{index}]"
            fields = {"id": str(_mapping(question, place).get("id", "")), "title": title, "context": context}
            yield (
                number,
                {**fields, "question": _text(question, "question", place), "answers": _answers(question, place)},
            )
            number += 1


def _load(path: Path, name: str) -> object:
    text = "".join(text_lines(path, name, translate=True))
    if not text.strip():
        return {"data": []}
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        fault = f"not valid JSON: {error.msg} at column {error.colno}."
        raise DataError(f"{name}:{error.lineno}: {fault} {_LAYOUT}") from error
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _paragraphs(content: object, name: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Each paragraph, with its path and the title of its article."""
    for index, article in enumerate(_list(content, "data", name)):
        place = f"{name}: data[{index}]"
        title = str(_mapping(article, place).get("title", ""))
        for number, paragraph in enumerate(_list(article, "paragraphs", place)):
            where = f"{place}.paragraphs[{number}]"
            yield where, _mapping(paragraph, where), title


def _answers(question: Mapping[str, Any], place: str) -> object:
    impossible = question.get("is_impossible", False)
    if not isinstance(impossible, bool):
        raise DataError(f"{place}.is_impossible: expected true or false, found {json_kind(impossible)}.")
    if not impossible:
        return _list(question, "answers", place)
    if question.get("answers"):
        raise DataError(f"{place}: is_impossible is true, but there are answers. Keep one of the two.")
    return []


def _mapping(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected an object, found {json_kind(value)}. {_LAYOUT}")
    return value


def _value(parent: object, key: str, place: str) -> object:
    """The value of the key.

    Raises:
        DataError: there is no such key.
    """
    fields = _mapping(parent, place)
    if key not in fields:
        keys = ", ".join(repr(name) for name in list(fields)[:5]) or "nothing"
        raise DataError(f"{place}: no {key!r} here; found {keys}. {_LAYOUT}")
    return fields[key]


def _list(parent: object, key: str, place: str) -> list[Any]:
    value = _value(parent, key, place)
    if not isinstance(value, list):
        raise DataError(f"{place}: {key!r}: expected an array, found {json_kind(value)}. {_LAYOUT}")
    return value


def _text(parent: object, key: str, place: str) -> str:
    value = _value(parent, key, place)
    if not isinstance(value, str):
        raise DataError(f"{place}: {key!r}: expected text, found {json_kind(value)}. {_LAYOUT}")
    return value

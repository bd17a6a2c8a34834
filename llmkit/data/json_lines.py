"""JSON, parsed strictly, and files with an object per line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from llmkit.data.files import text_lines
from llmkit.data.readers import BadRecord, Record, repeated_name
from llmkit.errors import DataError

_MAX_JSON_DEPTH = 100
_BRACKET = re.compile(r"[\[\]{}]")
_JSON_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')


class _JsonFault(ValueError):
    """Raised inside the JSON decoder; the caller adds the place in the file."""


def read_jsonl(path: Path, name: str) -> Iterator[Record]:
    """One JSON object per line; blank lines are skipped.

    A line that is not an object, has a duplicate key or NaN, or is nested deeper than 100, is a bad record.

    Raises:
        DataError: the file is not text, or is one JSON value over several lines.
    """
    first = True
    for number, line in enumerate(text_lines(path, name, translate=True), 1):
        if not line.strip():
            continue
        try:
            record: Mapping[str, object] | BadRecord = _parse_object(line)
        except json.JSONDecodeError as error:
            if first and line.strip() in ("[", "{", "[{"):
                raise DataError(
                    f"{name}:{number}: is one JSON value over several lines. Rename the file to .json, or write one "
                    "object per line."
                ) from error
            hint = "" if line.endswith("\n") else " The file may be truncated: this last line has no line break."
            fault = f"not valid JSON: {error.msg} at column {error.colno}. Write one object per line.{hint}"
            record = BadRecord(fault, "invalid JSON", line.rstrip("\n"))
        except ValueError as error:
            record = BadRecord(str(error), "another JSON value than an object with different keys", line.rstrip("\n"))
        first = False
        yield number, record


def parse_json(text: str) -> object:
    """Parse a JSON value strictly.

    Raises:
        ValueError: not JSON (then a JSONDecodeError), a duplicate key in an object, NaN, or nested deeper than 100.
    """
    # The decoder recurses; a few thousand brackets would end in RecursionError, or in a crash.
    if text.count("[") + text.count("{") > _MAX_JSON_DEPTH and _is_deep(text):
        raise _JsonFault(f"nested deeper than {_MAX_JSON_DEPTH} levels.")
    return _DECODER.decode(text)


def _parse_object(line: str) -> dict[str, object]:
    value = parse_json(line)
    if not isinstance(value, dict):
        raise _JsonFault(f'found {json_kind(value)}, expected an object such as {{"text": "..."}}.')
    return value


def _is_deep(line: str) -> bool:
    """Whether brackets outside strings are nested deeper than allowed; stops at the first that is."""
    depth = 0
    for bracket in _BRACKET.finditer(_JSON_STRING.sub("", line)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > _MAX_JSON_DEPTH:
            return True
    return False


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    repeated = repeated_name([key for key, _ in pairs])
    if repeated is not None:
        raise _JsonFault(f"the key {repeated!r} occurs twice in one object. Keep one.")
    return dict(pairs)


def _refuse_constant(constant: str) -> NoReturn:
    raise _JsonFault(f"{constant} is not JSON. Write text or a finite number.")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)


def json_kind(value: object) -> str:
    """A JSON value in words, for messages."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return "text"
    return "null" if value is None else f"the value {value!r:.40}"

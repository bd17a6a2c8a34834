"""The value of an unquoted YAML scalar, and how to write a value so that it is read back unchanged.

YAML 1.2, except that spellings which other parsers read differently are errors that say what to write. Knows no files,
no positions and no schema.
"""

from __future__ import annotations

import json
import math
import re

from llmkit.recipe.nodes import Scalar, shortened

MAX_DIGITS = 20  # Python converts at most 4,300, and no key of a recipe needs more than 10.

_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {spelling: word == "true" for word in ("true", "false") for spelling in (word, word.title(), word.upper())}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

_LEADING_ZERO = re.compile(r"([-+]?)0+([0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?)")
_UNDERSCORES = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?")
_OTHER_BASE = re.compile(r"[-+]?0[xob][0-9a-fA-F_]+")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?", re.DOTALL)
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")

# `a.csv`, `5%`, `1 epoch`, `hub:owner/name`, `../x`: nothing in them means anything to YAML.
_UNQUOTED = re.compile(r"(\.{1,2}/)?[A-Za-z0-9][A-Za-z0-9_./%+-]*(:[A-Za-z0-9_./%+-]+)*( [A-Za-z0-9_./%+()-]+)*")
_OLD_BOOLEANS = ("y", "n", "yes", "no", "on", "off")


def resolve(word: str) -> Scalar:
    """The value of an unquoted word.

    Raises:
        ValueError: YAML parsers disagree about it, or it is out of range. The message says what to write.
    """
    if word in _NULLS:
        return None
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    if _INTEGER.fullmatch(word):
        return _integer(word)
    if _FLOAT.fullmatch(word):
        return _float(word)
    surprise = _surprise(word)
    if surprise:
        raise ValueError(surprise)
    return word


def is_number(text: str) -> bool:
    return _FLOAT.fullmatch(text) is not None


def write_scalar(value: Scalar) -> str:
    """YAML that `resolve`, or any YAML 1.2 parser, reads back as an equal value."""
    if isinstance(value, str):
        return value if _needs_no_quotes(value) else _quoted(value)
    if isinstance(value, float):
        return repr(value)  # the shortest digits that give the same float
    return json.dumps(value)


def _integer(word: str) -> int:
    if len(word) > MAX_DIGITS:
        raise ValueError(f"a number of {len(word)} digits is too long; at most {MAX_DIGITS}")
    return int(word)


def _float(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{shortened(word)} is too large for a number; the largest is 1.79e308")
    return number


def _surprise(word: str) -> str:
    """Why a word is an error, and what to write; empty for ordinary text."""
    short = shortened(word)
    as_text = f'or "{short}" for the text'
    if zero := _LEADING_ZERO.fullmatch(word):
        return f"{short} has a leading zero, which some YAML parsers read as octal. Write {shortened(zero[1] + zero[2])}, {as_text}"
    if _UNDERSCORES.fullmatch(word):
        return f"{short} is a number only to some YAML parsers. Write {shortened(word.replace('_', ''))}, {as_text}"
    if _OTHER_BASE.fullmatch(word):
        return f"{short} is a number only to some YAML parsers. Write it in decimal, {as_text}"
    if _NOT_FINITE.fullmatch(word):
        return f"{short} is not a finite number. Give one, {as_text}"
    if _DATE.fullmatch(word):
        return f'{short} is a date to some YAML parsers. Write "{short}" for the text'
    if _SEXAGESIMAL.fullmatch(word):
        return f"{short} is a base-60 number to some YAML parsers. Write the number, {as_text}"
    return ""


def _needs_no_quotes(text: str) -> bool:
    if not _UNQUOTED.fullmatch(text) or text.lower() in (*_OLD_BOOLEANS, *_NULLS, *_BOOLEANS):
        return False
    return not (is_number(text) or _surprise(text))


def _quoted(text: str) -> str:
    # JSON's escapes are YAML's too, but YAML has no surrogate pairs: keep characters, escape the unprintable ones.
    return "".join(char if char.isprintable() else _escaped(char) for char in json.dumps(text, ensure_ascii=False))


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"

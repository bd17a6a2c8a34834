"""What a message states: places, keys, values and counts, whatever the words around them."""

from __future__ import annotations

import re

import pytest


def facts(*stated: object) -> str:
    """A pattern of a line that states them all, in any order; `3` is not in `13`, `3.5` or `rows.jsonl:31`."""
    return "(?m)^" + "".join(f"(?=.*{_pattern(str(fact))})" for fact in stated)


def says(text: str, *stated: object) -> None:
    """One line of the text states them all."""
    assert re.search(facts(*stated), text), f"no line states {stated}:\n{text}"


def logged(caplog: pytest.LogCaptureFixture, level: str, *stated: object) -> list[str]:
    """The messages of a level that state them all."""
    messages = [record.getMessage() for record in caplog.records if record.levelname == level]
    return [message for message in messages if re.search(facts(*stated), message)]


def _pattern(fact: str) -> str:
    before = r"(?<!\w)(?<!\d[.,])" if fact[:1].isdigit() else ""
    after = r"(?!\d)(?![.,]\d)" if fact[-1:].isdigit() else ""
    return f"{before}{re.escape(fact)}{after}"

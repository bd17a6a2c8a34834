"""The answers of a row, as places in its context. Knows no tokens."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from llmkit.errors import RowError
from llmkit.tasks.question_answering.locate import locate_answer

if TYPE_CHECKING:
    from llmkit.data.rows import Row


class LocatedAnswer(NamedTuple):
    """Characters of the context, the end exclusive."""

    start: int
    end: int
    given_start: int | None
    """Where the row says that the answer starts, without white space; None if it does not say so."""


def located_answers(row: Row) -> list[LocatedAnswer]:
    """The answers of a row, in order.

    Raises:
        RowError: one is not in the context, or it is not clear where.
    """
    context, answers = row.fields["context"], row.fields["answers"]
    located = []
    for text, start in zip(answers["text"], answers["answer_start"], strict=True):
        span = locate_answer(context, text, start)
        if span is None:
            fault, reason = _fault(context, text, start)
            raise RowError(row.place, fault, reason=reason)
        given_start = None if start is None else start + len(text) - len(text.lstrip())
        located.append(LocatedAnswer(*span, given_start))
    return located


def _fault(context: str, text: str, start: int | None) -> tuple[str, str]:
    """What is wrong with an answer, and the same for all answers with such a fault."""
    answer = text.strip()
    count = context.count(answer)
    there = "" if start is None else f"; at character {start:,} it has {context[start : start + len(text)]!r:.60}"
    if not count:
        fault = f"the answer {text!r:.60} is not in the context{there}.{_likely_cause(context, answer)} Correct it."
        return fault, "an answer that is not in the context"
    fault = (
        f"the answer {text!r:.60} occurs {count} times in the context{there}. Give its answer_start, counted from 0."
    )
    return fault, "an answer that occurs more than once"


def _likely_cause(context: str, answer: str) -> str:
    position = context.lower().find(answer.lower())
    if position >= 0 and len(context) == len(context.lower()):
        return f" It differs in case: {context[position : position + len(answer)]!r:.60}."
    if unicodedata.normalize("NFC", answer) in unicodedata.normalize("NFC", context):
        return " It is there in another Unicode form; normalize both to NFC."
    if " ".join(answer.split()) in " ".join(context.split()):
        return " It differs in white space."
    return ""

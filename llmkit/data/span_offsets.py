"""Offsets of spans in a text: what they count, and their characters.

Python counts characters, JavaScript (Label Studio, doccano's browser) UTF-16 units, of which an emoji has two, and some
programs bytes of UTF-8. Where spans come with their own text, it shows what was counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.errors import DataError, RowError
from llmkit.recipe.blocks import OffsetUnit

_UNITS: tuple[OffsetUnit, ...] = ("characters", "utf-16", "bytes")


def in_characters(
    text: str, spans: Sequence[Mapping[str, Any]], *, unit: OffsetUnit, place: str
) -> tuple[list[dict[str, Any]], OffsetUnit]:
    """The spans with offsets in characters and without their own texts, and what the offsets counted.

    Args:
        spans: `start`, `end`, `label`, and where it is known `text`.
        unit: what they count; `auto` finds out, by the texts of the spans, else by the ends of words.
    Raises:
        DataError: a span's own text stands at its offsets in no unit, or words show that `auto` would be a guess.
    """
    units = _UNITS if unit == "auto" else (unit,)
    if text.isascii():
        units = units[:1]  # all units are the same
    read = {one: [_converted(text, span, one) for span in spans] for one in units}
    if any(span.get("text") is not None for span in spans):
        for one, found in read.items():
            if all(_matches(text, span, given.get("text")) for span, given in zip(found, spans, strict=True)):
                return _without_texts(found), one
        _refuse_texts(text, spans, read[units[0]], place=place)
    first = units[0]
    if unit == "auto" and len(units) > 1 and not all(_at_word_ends(text, span) for span in read[first]):
        _refuse_guess(text, read, place=place)
    return _without_texts(read[first]), first


def _converted(text: str, span: Mapping[str, Any], unit: OffsetUnit) -> dict[str, Any]:
    """Offsets in characters; those inside a character or behind the text become -1, which no text has."""
    if unit == "characters":
        return dict(span)
    encoding, width = ("utf-16-le", 2) if unit == "utf-16" else ("utf-8", 1)
    encoded = text.encode(encoding)

    def characters(offset: int) -> int:
        if not 0 <= width * offset <= len(encoded):
            return -1
        try:
            return len(encoded[: width * offset].decode(encoding))
        except UnicodeDecodeError:
            return -1

    return {**span, "start": characters(span["start"]), "end": characters(span["end"])}


def _matches(text: str, span: Mapping[str, Any], own: str | None) -> bool:
    """Whether the span's own text stands there, with white space at its ends or not."""
    start, end = span["start"], span["end"]
    return own is None or (0 <= start < end <= len(text) and text[start:end].strip() == own.strip())


def _at_word_ends(text: str, span: Mapping[str, Any]) -> bool:
    """Whether neither end of the span is inside a word."""
    start, end = span["start"], span["end"]
    if not 0 <= start < end <= len(text):
        return False
    inside = [0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum() for place in (start, end)]
    return not any(inside) and not text[start].isspace() and not text[end - 1].isspace()


def _without_texts(spans: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in span.items() if key != "text"} for span in spans]


def _refuse_texts(
    text: str, spans: Sequence[Mapping[str, Any]], read: Sequence[Mapping[str, Any]], *, place: str
) -> None:
    given, span = next(
        (given, span) for given, span in zip(spans, read, strict=True) if not _matches(text, span, given.get("text"))
    )
    there = text[max(span["start"], 0) : max(span["end"], 0)]
    fault = (
        f"the span {given['start']}..{given['end']} says {given['text']!r:.40}, and {there!r:.40} stands there. "
        "Correct its offsets, which count characters from 0, or its text."
    )
    raise RowError(place, fault, reason="a span whose text is not at its offsets")


def _refuse_guess(text: str, read: Mapping[OffsetUnit, Sequence[Mapping[str, Any]]], *, place: str) -> None:
    """Refuse offsets that cut words as characters, and none in another unit."""
    for unit, found in read.items():
        if unit != "characters" and all(_at_word_ends(text, span) for span in found):
            odd = next(span for span in read["characters"] if not _at_word_ends(text, span))
            there = text[max(odd["start"], 0) : odd["end"]]
            raise DataError(
                f"{place}: as characters, the span {odd['start']}..{odd['end']} is {there!r:.40}, which cuts a word; "
                f"counted in {'UTF-16 units' if unit == 'utf-16' else 'bytes'}, no span does. Say what offsets count, "
                f"in the recipe: data.offsets: {unit} or characters."
            )

"""The words and tags of a row in either layout: `words` with `tags`, or `text` with `spans`."""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from llmkit.data.rows import Row
from llmkit.errors import RowError
from llmkit.tasks.token_classification.notations import OUTSIDE
from llmkit.tasks.token_classification.spans import Span

logger = logging.getLogger("llmkit")


def has_words(row: Row) -> bool:
    """Which of the two layouts a row has."""
    return "words" in row.fields


def tags_of_words(row: Row) -> list[str]:
    """The tags of a row with words.

    Raises:
        DataError: there are more or fewer of them than words.
    """
    words, tags = row.fields["words"], row.fields["tags"]
    if len(words) != len(tags):
        fault = f"{len(words):,} words and {len(tags):,} tags. Give each word one tag."
        raise RowError(row.place, fault, reason="different numbers of words and tags")
    checked: list[str] = tags
    return checked


def parts_of_words(row: Row, words: Sequence[Span]) -> list[list[Span]]:
    """The characters of each word, cut where a span of the row begins or ends inside it."""
    edges = sorted({edge for span in row.fields["spans"] for edge in (span["start"], span["end"])})
    parts = []
    for start, end in words:
        inside = edges[bisect_right(edges, start) : bisect_left(edges, end)]
        parts.append(list(pairwise((start, *inside, end))))
    return parts


def tags_of_parts(row: Row, parts: Iterable[Span]) -> list[str]:
    """The spans of a row as BIO tags of its words' parts, none of which is cut."""
    spans = iter(checked_spans(row))
    span = next(spans, None)
    tags = []
    begins = True
    for start, end in parts:
        while span is not None and span["end"] <= start:
            span, begins = next(spans, None), True
        if span is None or end <= span["start"]:
            tags.append(OUTSIDE)
        else:
            tags.append(f"{'B' if begins else 'I'}-{span['label']}")
            begins = False
    return tags


@dataclass
class SpanCount:
    """Spans that do not end where words do, for one warning at the end."""

    spans: int = 0
    _widened: int = 0
    _lost: int = 0
    _first_place: str = ""

    def bio(self, row: Row, words: Sequence[Span]) -> list[str]:
        """The spans of a row as BIO tags of its words. A span that cuts a word is widened to it and counted.

        Args:
            words: the characters of each word in the text, the end exclusive.
        Raises:
            DataError: a span that is outside the text, overlaps another, or contains no word.
        """
        tags = [OUTSIDE] * len(words)
        for span in checked_spans(row):
            self.spans += 1
            start, end = span["start"], span["end"]
            covered = [index for index, (first, last) in enumerate(words) if first < end and last > start]
            if not covered:
                raise _without_word(row, span)
            free = [index for index in covered if tags[index] == OUTSIDE]
            cut = words[covered[0]][0] < start or words[covered[-1]][1] > end
            if cut:
                self._widened += 1
                self._first_place = self._first_place or row.place
            if not free:
                self._lost += 1
            for index in free:
                tags[index] = f"{'B' if index == free[0] else 'I'}-{span['label']}"
        return tags

    def report(self) -> None:
        if self._widened:
            lost = f"; {self._lost:,} of them were lost to a span before them in the same word" if self._lost else ""
            logger.warning(
                "spans: %s of %s cut a word, the first at %s; widened to whole words in training, missed in scores%s",
                f"{self._widened:,}",
                f"{self.spans:,}",
                self._first_place,
                lost,
            )


def checked_spans(row: Row) -> list[dict[str, Any]]:
    """The spans of a row with spans, in text order.

    Raises:
        RowError: one is outside the text, overlaps another, or contains no word.
    """
    text: str = row.fields["text"]
    spans: list[dict[str, Any]] = sorted(row.fields["spans"], key=lambda span: (span["start"], span["end"]))
    previous = None
    for span in spans:
        if not 0 <= span["start"] < span["end"] <= len(text):
            fix = "Characters are counted from 0, and the end is exclusive."
            fault = f"the span {_shown(span)} is outside the text of {len(text):,} characters. {fix}"
            raise RowError(row.place, fault, reason="a span outside the text")
        if not text[span["start"] : span["end"]].strip():
            raise _without_word(row, span)
        if previous is not None and span["start"] < previous["end"]:
            both = f"{_shown(previous)} and {_shown(span)}"
            raise RowError(
                row.place, f"the spans {both} overlap. Keep one: a word has one tag.", reason="overlapping spans"
            )
        previous = span
    return spans


def _without_word(row: Row, span: dict[str, Any]) -> RowError:
    fault = f"the span {_shown(span)} contains no word. Move it to a word or remove it."
    return RowError(row.place, fault, reason="a span without a word")


def _shown(span: dict[str, Any]) -> str:
    return f"{span['start']}..{span['end']} {span['label']!r:.40}"

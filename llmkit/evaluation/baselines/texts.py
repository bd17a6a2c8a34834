"""Sentences of a text in any script, by its punctuation. Knows no tasks.

Good enough for a baseline: an abbreviation that is not listed ends a sentence only where a capital letter follows.
"""

from __future__ import annotations

import re

_WIDE_END = r"[。！？｡]+"  # noqa: RUF001  # meant
"""Ends of the scripts without spaces: what follows begins a sentence."""
_NARROW_END = r"[.!?…।؟۔]+"  # noqa: RUF001
"""Ends only before white space, so that 3.5 and llmkit.load stay whole."""
_CLOSING = r"[\"'»”’)\]）」』】]*"  # noqa: RUF001
_END = re.compile(rf"{_WIDE_END}{_CLOSING}|{_NARROW_END}{_CLOSING}(?=\s)|\n\s*\n")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“])(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|Rev|St|Sen|Rep|Gov|Gen|Col|Lt|Sgt|Capt|Jr|Sr|Inc|Ltd|Co|Corp|vs"
    r"|etc|e\.g|i\.e|cf|al|Fig|approx|(?:[A-Za-z]\.)+[A-Za-z])\.$"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space around them; none in a blank text."""
    found, start = [], 0
    for match in _END.finditer(text):
        if not _goes_on(text[start : match.end()], text[match.end() :]):
            found.append(text[start : match.end()].strip())
            start = match.end()
    return [sentence for sentence in (*found, text[start:].strip()) if sentence]


def first_sentence(text: str) -> str:
    """The first sentence, or nothing of a blank text."""
    return next(iter(sentences(text)), "")


def _goes_on(sentence: str, rest: str) -> bool:
    """Whether the dot at the end was an abbreviation's."""
    if not sentence.endswith("."):
        return False
    following = rest.lstrip()
    return following[:1].islower() or _ABBREVIATION.search(sentence) is not None

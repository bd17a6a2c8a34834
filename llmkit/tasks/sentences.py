"""Where sentences end, in any script, by punctuation. Knows no tasks.

`sentences` splits a text and leaves abbreviations whole: one that is not listed ends a sentence only where a capital
letter follows. `ends_sentence` checks a single position, for a text that must be split near it, and so knows neither
abbreviations nor what comes next.
"""

from __future__ import annotations

import re

_WIDE_ENDS = "。！？"  # noqa: RUF001
"""Of Chinese and Japanese, without spaces: what follows begins a sentence."""
_NARROW_ENDS = ".!?…"
"""Ends only before white space, so that 3.5 and llmkit.load stay whole."""
_CLOSING = r"\"'”’)\]）」』"  # noqa: RUF001
_END = re.compile(
    rf"[{_WIDE_ENDS}｡]+[{_CLOSING}»】]*|[{_NARROW_ENDS}।؟۔]+[{_CLOSING}»】]*(?=\s)|\n\s*\n"  # noqa: RUF001
)
_END_OF_SENTENCE = re.compile(rf"[{_NARROW_ENDS}{_WIDE_ENDS}][{_CLOSING}]*$")
"""Matched against the text before a position, without trailing white space."""
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“])(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|Rev|St|Sen|Rep|Gov|Gen|Col|Lt|Sgt|Capt|Jr|Sr|Inc|Ltd|Co|Corp|vs"
    r"|etc|e\.g|i\.e|cf|al|Fig|approx|(?:[A-Za-z]\.)+[A-Za-z])\.$"
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, without the white space around them; none in a blank text."""
    parts, start = [], 0
    for match in _END.finditer(text):
        if not _continues(text[start : match.end()], text[match.end() :]):
            parts.append(text[start : match.end()].strip())
            start = match.end()
    return [sentence for sentence in (*parts, text[start:].strip()) if sentence]


def ends_sentence(text: str, position: int) -> bool:
    """Whether a sentence ends before this character, by punctuation and white space alone."""
    before = text[max(0, position - 40) : position]
    if "\n" in before[len(before.rstrip()) :]:
        return True
    spaced = before != before.rstrip()
    match = _END_OF_SENTENCE.search(before.rstrip())
    return match is not None and (spaced or match[0][0] in _WIDE_ENDS)


def _continues(sentence: str, rest: str) -> bool:
    """Whether the full stop at the end belongs to an abbreviation."""
    if not sentence.endswith("."):
        return False
    following = rest.lstrip()
    return following[:1].islower() or _ABBREVIATION.search(sentence) is not None

"""Where an answer occurs in its context. Knows neither rows nor tokens."""

from __future__ import annotations

NEARBY_CHARACTERS = 20
"""Largest distance from `answer_start` at which the nearest of several occurrences is taken."""


def locate_answer(context: str, text: str, start: int | None) -> tuple[int, int] | None:
    """Start and end in characters of an answer, without white space around it.

    It is where `start` says, else the only nearest occurrence within `NEARBY_CHARACTERS`, else its only occurrence.

    Args:
        start: None if it is not known.

    Returns:
        None where it does not occur, or it is not clear which occurrence is meant.
    """
    answer = text.strip()
    expected = None if start is None else start + len(text) - len(text.lstrip())
    if expected is not None and context.startswith(answer, expected):
        return expected, expected + len(answer)
    first = context.find(answer)
    if first < 0:
        return None
    position = first
    if context.find(answer, first + 1) >= 0:  # it occurs more than once
        if expected is None:
            return None
        before, after = context.rfind(answer, 0, expected + len(answer) - 1), context.find(answer, expected + 1)
        distances = sorted((abs(place - expected), place) for place in (before, after) if place >= 0)
        equally_near = len(distances) == 2 and distances[0][0] == distances[1][0]
        if equally_near or distances[0][0] > NEARBY_CHARACTERS:
            return None
        position = distances[0][1]
    return position, position + len(answer)

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
    starts = _occurrences(context, answer)
    if start is None:
        return (starts[0], starts[0] + len(answer)) if len(starts) == 1 else None
    expected = start + len(text) - len(text.lstrip())
    if context.startswith(answer, expected):
        return expected, expected + len(answer)
    distances = sorted((abs(position - expected), position) for position in starts)
    nearest_alone = len(starts) > 1 and distances[0][0] < distances[1][0] and distances[0][0] <= NEARBY_CHARACTERS
    if len(starts) == 1 or nearest_alone:
        position = distances[0][1]
        return position, position + len(answer)
    return None


def _occurrences(context: str, answer: str) -> list[int]:
    """All starts, overlapping ones too."""
    starts = []
    position = context.find(answer)
    while position >= 0:
        starts.append(position)
        position = context.find(answer, position + 1)
    return starts

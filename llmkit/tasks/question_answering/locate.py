"""Where an answer really stands in its context. Knows neither rows nor tokens."""

from __future__ import annotations

NEARBY_CHARACTERS = 20
"""An answer that occurs several times is taken from so close to where it should be; further away is a guess."""


def locate_answer(context: str, text: str, start: int) -> tuple[int, int] | None:
    """Start and end in characters of an answer, white space around it left out.

    It is where `start` says, else the only nearest occurrence within `NEARBY_CHARACTERS`, else its only occurrence.

    Returns:
        None where it does not occur, or nothing tells which occurrence is meant.
    """
    answer = text.strip()
    wanted = start + len(text) - len(text.lstrip())
    if context.startswith(answer, wanted):
        return wanted, wanted + len(answer)
    found = _occurrences(context, answer)
    distances = sorted((abs(place - wanted), place) for place in found)
    nearest_alone = len(found) > 1 and distances[0][0] < distances[1][0] and distances[0][0] <= NEARBY_CHARACTERS
    if len(found) == 1 or nearest_alone:
        place = distances[0][1]
        return place, place + len(answer)
    return None


def _occurrences(context: str, answer: str) -> list[int]:
    """All starts, overlapping ones too."""
    found = []
    place = context.find(answer)
    while place >= 0:
        found.append(place)
        place = context.find(answer, place + 1)
    return found

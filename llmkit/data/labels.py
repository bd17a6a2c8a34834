"""Names of labels: their order, names that differ only in how they are written, and texts with several labels.

Knows no tasks: names, texts and places come from the caller.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from llmkit.data.column_types import number

logger = logging.getLogger("llmkit")
_SHOWN = 5
_CHARACTERS_SHOWN = 60


def in_order(names: Iterable[str]) -> list[str]:
    """The distinct names: in numeric order if all are numbers, so that 2 comes before 10; else sorted as text."""
    distinct = set(names)
    if all(number(name) is not None for name in distinct):
        return sorted(distinct, key=lambda name: (Decimal(name), name))
    return sorted(distinct)


def spelling(name: str) -> str:
    """What is left of a name without case, white space, invisible characters and the choice of Unicode form."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(
        character for character in folded if not character.isspace() and unicodedata.category(character) != "Cf"
    )


def alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in case, white space, invisible characters or Unicode form."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(spelling(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


@dataclass
class LabelCount:
    """How often each label occurs, and where first."""

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)

    def add(self, names: Iterable[str], *, place: str) -> None:
        for name in names:
            self.counts[name] += 1
            self.places.setdefault(name, place)

    def warn_of_alike(self, *, what: str = "labels") -> None:
        """Warn of names that are probably the same label, with their counts and first places."""
        for group in alike(self.counts)[:_SHOWN]:
            logger.warning(
                "%s that differ only in case, white space or Unicode form are different classes: %s. "
                "Write one of them in the data if they mean the same.",
                what,
                described(group, self.counts, self.places),
            )


def described(names: Sequence[str], counts: Mapping[str, int], places: Mapping[str, str]) -> str:
    """`'good' (20, first at train.csv:3), 'Good' (1, at train.csv:9)`; characters that look alike are escaped."""
    shown = []
    for name in names[:_SHOWN]:
        first = "at" if counts[name] == 1 else "first at"
        shown.append(f"{_visible(name)} ({counts[name]:,}, {first} {places[name]})")
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _visible(name: str) -> str:
    """The name in quotes, and with its escapes if it looks like its other Unicode form."""
    return repr(name) if unicodedata.is_normalized("NFKC", name) and name.isprintable() else ascii(name)


@dataclass
class AnswersOfInputs:
    """Equal inputs with different answers, which no model can learn: counted, with the places of the first ones."""

    _first: dict[int, tuple[int, str, str]] = field(default_factory=dict)
    """Hash of an input -> hash, text and place of its first answer."""
    _conflicting: set[int] = field(default_factory=set)
    _rows: int = 0
    """Rows whose answer differs from the first one of their input."""
    _example: str = ""

    def add(self, read: Hashable, answer: str, *, place: str) -> None:
        """
        Args:
            read: all that the model reads of a row.
            answer: its label, or its labels in a fixed order.
        """
        key, answer_key = hash(read), hash(answer)
        first_key, first, first_place = self._first.setdefault(key, (answer_key, answer[:_CHARACTERS_SHOWN], place))
        if first_key == answer_key:
            return
        self._rows += 1
        self._conflicting.add(key)
        self._example = self._example or f"{first} at {first_place} and {answer:.{_CHARACTERS_SHOWN}} at {place}"

    def warn(self, *, inputs: str = "texts", answers: str = "labels") -> None:
        """
        Args:
            inputs: what the inputs are called, such as `texts`.
            answers: what the answers are called.
        """
        if self._rows:
            logger.warning(
                "%s %s occur with different %s (%s rows differ from the first), such as %s. "
                "Keep one row of each if that is a mistake.",
                *(f"{len(self._conflicting):,}", inputs, answers, f"{self._rows:,}", self._example),
            )

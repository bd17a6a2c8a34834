"""How tags of entities are written: which part is the prefix, what separates it from the type, what is outside.

`B-PER`, `B_PER`, `PER:B`, `b-per` and the bare `B` all begin an entity. A notation is recognised from all tags of some
rows, since one tag alone can be ambiguous. Knows no sequences of tags; `tags.py` reads these.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from llmkit.errors import DataError

OUTSIDE = "O"
UNTYPED = "ENTITY"
"""The type of entities whose tags name none: bare B, I and O, or B, M, E and S of words."""
_LETTERS = "BIESLUMW"
_OPENING = "BIESLU"
"""Middles and wholes alone do not show that tags are those of entities."""
_SEPARATORS = "-_:/|.+#"
_OUTSIDES = frozenset({OUTSIDE, "o", "_", "-", "0"})
"""Spellings of the tag outside entities."""
_CANONICAL = re.compile(rf"[{_LETTERS}]-.+", re.DOTALL)


class Notation(NamedTuple):
    """How the tags of some rows spell prefix and type."""

    separator: str
    """Between the two; empty where tags are prefixes alone."""
    prefix_last: bool = False

    def parts(self, tag: str) -> tuple[str, str] | None:
        """Prefix in upper case and type; None for a tag of another notation."""
        if not self.separator:
            return (tag.upper(), UNTYPED) if len(tag) == 1 and tag.upper() in _LETTERS else None
        first, found, last = (tag.rpartition if self.prefix_last else tag.partition)(self.separator)
        prefix, label = (last, first) if self.prefix_last else (first, last)
        return (prefix.upper(), label) if found and label and len(prefix) == 1 and prefix.upper() in _LETTERS else None

    def canonical(self, tag: str) -> str | None:
        """The tag as `B-PER`, or `O`; None for a tag of another notation."""
        if tag in _OUTSIDES:
            return OUTSIDE
        parts = self.parts(tag)
        return None if parts is None else "-".join(parts)

    @property
    def described(self) -> str:
        if not self.separator:
            return "a prefix without a type"
        example = f"PER{self.separator}B" if self.prefix_last else f"B{self.separator}PER"
        return f"written as {example}"


CANONICAL = Notation("-")
_NOTATIONS = (
    *(Notation(separator) for separator in _SEPARATORS),
    *(Notation(separator, prefix_last=True) for separator in _SEPARATORS),
    Notation(""),
)


def notation_of(tags: Iterable[str]) -> Notation | None:
    """The notation in which all of these are tags of entities; None where there is none.

    Args:
        tags: all tags of some rows; also without the tag outside, which some schemes do not have.
    """
    inside = set(tags) - _OUTSIDES
    return next((notation for notation in _NOTATIONS if _fits(notation, inside)), None) if inside else None


def canonical_tag(tag: str, *, types: Collection[str]) -> str | None:
    """A tag as `B-PER` or `O`, in any notation in which its type is one of `types`; None where there is none."""
    if tag == OUTSIDE or (_CANONICAL.fullmatch(tag) and tag[2:] in types):
        return tag
    for notation in _NOTATIONS:
        parts = notation.parts(tag)
        if parts is not None and parts[1] in types:
            return "-".join(parts)
    return OUTSIDE if tag in _OUTSIDES else None


def refuse_unclear(tags: Collection[str]) -> None:
    """Refuse tags that are no plain ones, although they fit no notation as a whole.

    Raises:
        DataError: brackets, numbers in place of names, or a type with several prefixes beside tags without a prefix.
    """
    plain = "For plain tags, which are not entities, set scheme: plain."
    bracket = next((tag for tag in sorted(tags) if "*" in tag and set("()").intersection(tag)), None)
    if bracket is not None:
        raise DataError(f"tags: {bracket!r} marks entities with brackets, as CoNLL-2012 does. Write BIO tags. {plain}")
    if tags and all(tag.isdecimal() for tag in tags):
        found = ", ".join(sorted(tags, key=int)[:8])
        raise DataError(
            f"tags: they are numbers ({found}), and nothing names them. Name them in their order, from 0, with labels: "
            f"[O, B-PER, ...]. {plain}"
        )
    for notation in _NOTATIONS[:-1]:
        prefixes: defaultdict[str, set[str]] = defaultdict(set)
        for tag in tags:
            if (parts := notation.parts(tag)) is not None:
                prefixes[parts[1]].add(parts[0])
        if any("B" in found and len(found) > 1 for found in prefixes.values()):
            _refuse_mixture(tags, notation, plain=plain)
    if {"B", "I", "O"} <= {tag.upper() for tag in tags}:
        _refuse_mixture(tags, _NOTATIONS[-1], plain=plain)


def _refuse_mixture(tags: Collection[str], notation: Notation, *, plain: str) -> None:
    odd = sorted(tag for tag in tags if notation.canonical(tag) is None)
    example = min(tag for tag in tags if notation.canonical(tag) not in (None, OUTSIDE))
    fix = "Write all tags of entities in the same way, and the others as O."
    raise DataError(f"tags: {example!r} has a prefix, and {odd[0]!r} is not {notation.described}. {fix} {plain}")


def _fits(notation: Notation, inside: Collection[str]) -> bool:
    """Whether all of these are tags of entities in this notation, and enough of a scheme to be meant so."""
    read = [notation.parts(tag) for tag in inside]
    prefixes = {parts[0] for parts in read if parts is not None}
    if None in read or not prefixes.intersection(_OPENING):
        return False
    # A prefix in both cases is two tags, and what has a type of one letter may have it in front.
    spelt = {tag[-1] if notation.prefix_last else tag[0] for tag in inside}
    if len({letter.isupper() for letter in spelt}) > 1:
        return False
    if notation == CANONICAL and all(letter.isupper() for letter in spelt):
        return True
    return bool(prefixes.intersection("BI")) and not {"I", "M"} <= prefixes

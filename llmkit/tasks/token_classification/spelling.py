"""Tags of rows as a model spells them: names in place of numbers, and BIO in place of other notations and schemes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain

from llmkit.tasks.token_classification.notations import OUTSIDE, notation_of
from llmkit.tasks.token_classification.tags import to_bio


def tag_name(tag: str, names: Sequence[str]) -> str:
    """The name of a tag that is a number, from 0; any other tag as it is."""
    if tag.isdecimal() and tag not in names and int(tag) < len(names):
        return names[int(tag)]
    return tag


def named_tags(rows: Collection[Sequence[str]], names: Sequence[str]) -> list[list[str]]:
    return [[tag_name(tag, names) for tag in row] for row in rows]


def bio_rows(rows: Collection[Sequence[str]]) -> list[list[str]]:
    """Tags of entities in BIO, in whatever notation all rows together are written; others are outside."""
    notation = notation_of(chain.from_iterable(rows))
    if notation is None:
        return [to_bio(row) for row in rows]
    return [to_bio([notation.canonical(tag) or OUTSIDE for tag in row]) for row in rows]

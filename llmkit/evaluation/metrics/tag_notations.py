"""Tags of two sides in one spelling, BIO, whatever notation and scheme each side is written in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain

from llmkit.errors import UsageError
from llmkit.tasks.token_classification.notations import OUTSIDE, Notation, canonical_tag, notation_of
from llmkit.tasks.token_classification.tags import ENDING, has_prefixes, split_tag, to_bio

Tagged = Sequence[Sequence[str]]
"""The tags of each row's words."""


def entities_in_bio(predictions: Tagged, references: Tagged) -> tuple[list[list[str]], list[list[str]]]:
    """Both sides in BIO. Where the references begin entities with `I-`, as IOB1 does, predictions may, too; else an
    `I-` that continues nothing is no entity.

    Raises:
        UsageError: the reference tags, or all predicted ones, are no tags of entities.
    """
    reference_tags, predicted_tags = _all_tags(references), _all_tags(predictions)
    notation = notation_of(reference_tags)
    if notation is None and reference_tags - {OUTSIDE}:
        raise UsageError(_fault("entities", reference_tags))
    in_notation = [_canonical(row, notation, types=()) for row in references]
    bio = [to_bio(row) for row in in_notation]
    types = {split_tag(tag)[1] for tag in _all_tags(bio)} - {""}
    own_notation = notation_of(predicted_tags)
    predicted = [_canonical(row, own_notation, types=types) for row in predictions]
    if predicted_tags - {OUTSIDE} and not _all_tags(predicted) - {OUTSIDE}:
        raise UsageError(_fault("predictions", predicted_tags))
    as_iob1 = any(
        tag != bio_tag and tag.startswith("I-")
        for row, bio_row in zip(in_notation, bio, strict=True)
        for tag, bio_tag in zip(row, bio_row, strict=True)
    )
    if as_iob1 or any(split_tag(tag)[0] in ENDING for tag in _all_tags(predicted)):
        predicted = [to_bio(row) for row in predicted]
    return predicted, bio


def tags_alike(predictions: Tagged, references: Tagged) -> Tagged:
    """The references as the predictions are spelt: in BIO where these are tags of entities in BIO, else unchanged."""
    notation = notation_of(_all_tags(references))
    predicted_tags = _all_tags(predictions)
    in_bio = not predicted_tags - {OUTSIDE} or has_prefixes(predicted_tags)
    if notation is None or not in_bio or any(to_bio(row) != list(row) for row in predictions):
        return references
    return [to_bio(_canonical(row, notation, types=())) for row in references]


def _canonical(row: Sequence[str], notation: Notation | None, *, types: Collection[str]) -> list[str]:
    """The tags as `B-PER`; outside where a tag cannot be read.

    Args:
        types: of entities, for tags that are in no notation together.
    """
    if notation is None:
        return [canonical_tag(tag, types=types) or OUTSIDE for tag in row]
    return [notation.canonical(tag) or OUTSIDE for tag in row]


def _all_tags(rows: Tagged) -> set[str]:
    return set(chain.from_iterable(rows))


def _fault(place: str, tags: Collection[str]) -> str:
    odd = next((tag for tag in sorted(tags) if tag != OUTSIDE and not has_prefixes([tag])), min(tags))
    return f"{place}: the tag {odd!r} has no prefix such as B-. Use tag_accuracy for plain tags."

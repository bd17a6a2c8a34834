"""What can be wrong with the tags or spans of a row, without a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmkit.errors import RowError
from llmkit.tasks.token_classification.notations import OUTSIDE, canonical_tag
from llmkit.tasks.token_classification.rows import checked_spans, has_words, tags_of_words
from llmkit.tasks.token_classification.spelling import tag_name
from llmkit.tasks.token_classification.tags import has_prefixes, split_tag, to_bio
from llmkit.tasks.unknown_labels import unknown_label

if TYPE_CHECKING:
    from llmkit.data.rows import Row


def check_tags(row: Row, *, scheme: str, labels: Sequence[str] | None, numbered: Sequence[str]) -> None:
    """
    Args:
        labels: the model's tags; None if they are not known yet.
        numbered: names of tags that rows have as numbers, from 0.
    Raises:
        RowError: the tags or spans do not fit the words or the labels.
    """
    is_bio = scheme == "bio" or (scheme == "auto" and labels is not None and has_prefixes(labels))
    if has_words(row):
        tags = tags_of_words(row)
        read = tags if labels is None else _as_labels(tags, labels, numbered=numbered, is_bio=is_bio)
    else:
        if scheme == "plain":
            fault = "spans are entities, and the tags are plain. Take scheme: bio, or words."
            raise RowError(row.place, fault, reason="spans where tags are plain")
        read = tags = [f"B-{span['label']}" for span in checked_spans(row)]
    if labels is not None:
        unknown = next((tag for tag, label in zip(tags, read, strict=True) if label not in labels), None)
        if unknown is not None:
            raise unknown_label(row.place, "tag", unknown, known=labels)


def _as_labels(tags: Sequence[str], labels: Sequence[str], *, numbered: Sequence[str], is_bio: bool) -> list[str]:
    """The tags as the model spells them; those that cannot be read as they are."""
    names = [tag_name(tag, numbered) for tag in tags]
    if not is_bio:
        return names
    types = {split_tag(label)[1] for label in labels} - {""}
    read = [name if name != tag else canonical_tag(tag, types=types) for tag, name in zip(tags, names, strict=True)]
    bio = to_bio([label or OUTSIDE for label in read])
    return [tag if label is None else label_in_bio for tag, label, label_in_bio in zip(tags, read, bio, strict=True)]

"""The tags of rows as the model gets them, and what is odd about them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection

from llmkit.data.rows import Row
from llmkit.errors import DataError, nearest
from llmkit.tasks.token_classification.rows import SpanCount, given_tags, has_words
from llmkit.tasks.token_classification.subwords import WordPieces
from llmkit.tasks.token_classification.tags import OUTSIDE, TagCount

_TAGS_SHOWN = 5
logger = logging.getLogger("llmkit")


class TagReader:
    """The tags of rows as the model gets them; counts what is odd about them, and refuses it at the end."""

    def __init__(self, scheme: str, known: Collection[str]) -> None:
        self._scheme = scheme
        self._known = known
        self._name_of = {tag: tag for tag in known}  # one text for all words of a tag
        self._tags = TagCount()
        self._spans = SpanCount()
        self._unseen: Counter[str] = Counter()
        self._unseen_at: dict[str, str] = {}
        self._unwritten = 0
        self._unwritten_at = ""

    def tags(self, row: Row, pieces: WordPieces) -> list[str]:
        if pieces.unwritten:
            self._unwritten += pieces.unwritten
            self._unwritten_at = self._unwritten_at or row.place
        given = given_tags(row) if has_words(row) else self._of_spans(row, pieces)
        tags = self._tags.bio(given, place=row.place) if self._scheme == "bio" else self._tags.plain(given)
        for before, tag in zip(given, tags, strict=True):
            wanted = before if tag == OUTSIDE else tag  # in BIO a tag without a prefix has become `O`
            if wanted not in self._name_of:
                self._unseen[wanted] += 1
                self._unseen_at.setdefault(wanted, row.place)
        return [self._name_of.get(tag, tag) for tag in tags]

    def report(self) -> None:
        """Log what was counted.

        Raises:
            DataError: tags that the model does not have, with counts and places.
        """
        if self._unseen:
            raise DataError(self._unseen_fault())
        self._tags.report()
        self._spans.report()
        if self._unwritten:
            logger.info(
                "words: %s that the tokenizer has no piece for, such as the first at %s; read as its unknown token",
                f"{self._unwritten:,}",
                self._unwritten_at,
            )

    def _of_spans(self, row: Row, pieces: WordPieces) -> list[str]:
        if self._scheme == "plain":
            raise DataError(f"{row.place}: spans are entities, and the tags are plain. Take scheme: bio, or words.")
        return self._spans.bio(row, pieces.spans)

    def _unseen_fault(self) -> str:
        most_frequent = self._unseen.most_common(_TAGS_SHOWN)
        listed = ", ".join(
            f"{tag!r} ({count:,} times, first at {self._unseen_at[tag]})" for tag, count in most_frequent
        )
        first, place = next(iter(self._unseen_at.items()))
        more = f" and {len(self._unseen_at) - _TAGS_SHOWN} more" if len(self._unseen_at) > _TAGS_SHOWN else ""
        hint = nearest(first, self._known)
        return f"{place}: tags that the model does not have: {listed}{more}.{hint} It has: {', '.join(self._known)}."

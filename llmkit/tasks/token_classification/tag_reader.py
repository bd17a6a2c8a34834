"""The tags of rows as the model learns them, and reports of what is odd about them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection

from llmkit.data.rows import Row
from llmkit.errors import DataError, nearest
from llmkit.tasks.token_classification.rows import SpanCount, has_words, tags_of_words
from llmkit.tasks.token_classification.subwords import WordSubwords
from llmkit.tasks.token_classification.tags import OUTSIDE, TagCount

_TAGS_SHOWN = 5
logger = logging.getLogger("llmkit")


class TagReader:
    """The tags of rows as the model learns them; counts what is odd about them and reports it at the end."""

    def __init__(self, scheme: str, known: Collection[str]) -> None:
        self._scheme = scheme
        self._known = known
        self._name_of = {tag: tag for tag in known}  # one string object for all words with a tag
        self._tags = TagCount()
        self._spans = SpanCount()
        self._unseen: Counter[str] = Counter()
        self._unseen_at: dict[str, str] = {}
        self._unknown_words = 0
        self._first_unknown = ""

    def tags(self, row: Row, subwords: WordSubwords) -> list[str]:
        if subwords.unknown_words:
            self._unknown_words += subwords.unknown_words
            self._first_unknown = self._first_unknown or row.place
        row_tags = tags_of_words(row) if has_words(row) else self._tags_of_spans(row, subwords)
        tags = self._tags.bio(row_tags, place=row.place) if self._scheme == "bio" else self._tags.plain(row_tags)
        for row_tag, tag in zip(row_tags, tags, strict=True):
            label = row_tag if tag == OUTSIDE else tag  # in BIO a tag without a prefix has become `O`
            if label not in self._name_of:
                self._unseen[label] += 1
                self._unseen_at.setdefault(label, row.place)
        return [self._name_of.get(tag, tag) for tag in tags]

    def report(self) -> None:
        """Log what was counted.

        Raises:
            DataError: tags that the model does not have, with counts and places.
        """
        if self._unseen:
            raise DataError(self._unseen_message())
        self._tags.report()
        self._spans.report()
        if self._unknown_words:
            logger.info(
                "words: %s that the tokenizer has no subword for, such as the first at %s; read as its unknown token",
                f"{self._unknown_words:,}",
                self._first_unknown,
            )

    def _tags_of_spans(self, row: Row, subwords: WordSubwords) -> list[str]:
        if self._scheme == "plain":
            raise DataError(f"{row.place}: spans are entities, and the tags are plain. Take scheme: bio, or words.")
        return self._spans.bio(row, subwords.spans)

    def _unseen_message(self) -> str:
        most_frequent = self._unseen.most_common(_TAGS_SHOWN)
        listed = ", ".join(
            f"{tag!r} ({count:,} times, first at {self._unseen_at[tag]})" for tag, count in most_frequent
        )
        first, place = next(iter(self._unseen_at.items()))
        more = f" and {len(self._unseen_at) - _TAGS_SHOWN} more" if len(self._unseen_at) > _TAGS_SHOWN else ""
        hint = nearest(first, self._known)
        return f"{place}: tags that the model does not have: {listed}{more}.{hint} It has: {', '.join(self._known)}."

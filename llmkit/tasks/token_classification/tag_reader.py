"""The tags of rows as the model learns them, and reports of what is odd about them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain

from llmkit.data.labels import AnswersOfInputs
from llmkit.data.rows import Row
from llmkit.errors import DataError, nearest
from llmkit.tasks.token_classification.notations import canonical_tag
from llmkit.tasks.token_classification.rows import SpanCount, has_words, parts_of_words, tags_of_parts, tags_of_words
from llmkit.tasks.token_classification.spelling import tag_name
from llmkit.tasks.token_classification.subwords import WordSubwords
from llmkit.tasks.token_classification.tags import TagCount, split_tag

_TAGS_SHOWN = 5
logger = logging.getLogger("llmkit")


class TagReader:
    """The tags of rows as the model learns them; counts what is odd about them and reports it at the end."""

    def __init__(self, scheme: str, known: Collection[str], *, numbered: Sequence[str] = ()) -> None:
        """
        Args:
            scheme: `bio` or `plain`.
            known: the labels of the model.
            numbered: names of tags that rows have as numbers, from 0.
        """
        self._scheme = scheme
        self._known = known
        self._numbered = numbered
        self._types = {split_tag(label)[1] for label in known} - {""}
        self._read: dict[str, str | None] = {}
        self._name_of = {tag: tag for tag in known}  # one string object for all words with a tag
        self._tags = TagCount()
        self._spans = SpanCount()
        self._unseen: Counter[str] = Counter()
        self._unseen_at: dict[str, str] = {}
        self._unknown_words = 0
        self._first_unknown = ""
        self._answers = AnswersOfInputs()

    def tags(self, row: Row, subwords: WordSubwords) -> list[str]:
        if subwords.unknown_words:
            self._unknown_words += subwords.unknown_words
            self._first_unknown = self._first_unknown or row.place
        row_tags = tags_of_words(row) if has_words(row) else self._tags_of_spans(row, subwords)
        read = [self._label_of(tag) for tag in row_tags]
        named = [tag if label is None else label for tag, label in zip(row_tags, read, strict=True)]
        tags = self._tags.bio(named, place=row.place) if self._scheme == "bio" else self._tags.plain(named)
        for row_tag, label_read, tag in zip(row_tags, read, tags, strict=True):
            label = row_tag if label_read is None else tag  # in BIO a tag that cannot be read has become `O`
            if label not in self._name_of:
                self._unseen[label] += 1
                self._unseen_at.setdefault(label, row.place)
        text = tuple(row.fields["words"]) if has_words(row) else row.fields["text"]
        self._answers.add(text, " ".join(tags), place=row.place)
        return [self._name_of.get(tag, tag) for tag in tags]

    def reference(self, row: Row, subwords: WordSubwords, tags: list[str]) -> tuple[list[str], Sequence[int]]:
        """What predictions are compared with: the tags of the words, or of their parts where a span cuts a word.

        Args:
            tags: of the words.
        Returns:
            The tags, and the number of parts of each word; empty where each word is one.
        """
        if has_words(row):
            return tags, ()
        parts = parts_of_words(row, subwords.spans)
        if all(len(of_word) == 1 for of_word in parts):
            return tags, ()
        of_parts = tags_of_parts(row, chain.from_iterable(parts))
        return [self._label_of(tag) or tag for tag in of_parts], [len(of_word) for of_word in parts]

    def _label_of(self, tag: str) -> str | None:
        """The tag as the model spells it, but for its prefix; None where it cannot be read."""
        if tag not in self._read:
            label: str | None = tag_name(tag, self._numbered)
            if label == tag and self._scheme == "bio":
                label = canonical_tag(tag, types=self._types)
            self._read[tag] = label
        return self._read[tag]

    def report(self) -> None:
        """Log what was counted.

        Raises:
            DataError: tags that the model does not have, with counts and places.
        """
        if self._unseen:
            raise DataError(self._unseen_message())
        self._tags.report()
        self._spans.report()
        self._answers.warn(answers="tags")
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
        return (
            f"{place}: tags that the model does not have: {listed}{more}.{hint} It has: {', '.join(self._known)}. A "
            "model has the tags of all rows of data.train, or those under labels: in its recipe."
        )

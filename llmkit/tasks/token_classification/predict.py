"""From texts to the entities or the tags of their words, over an engine and a tokenizer.

Words are given, or split as in training; offsets are characters of the text as it was given. Long texts are read in
windows that overlap, as in evaluation. Knows no files and no commands.
"""

from __future__ import annotations

import itertools
import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, overload

from llmkit.errors import DataError
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.encoding import in_chunks
from llmkit.tasks.engine import Engine
from llmkit.tasks.inputs import LongTextCount, check_texts, numbered_chunks
from llmkit.tasks.token_classification.notations import OUTSIDE, notation_of
from llmkit.tasks.token_classification.saved import SavedTokenClassification
from llmkit.tasks.token_classification.spans import Span, Spans
from llmkit.tasks.token_classification.splitting import WordSplitting
from llmkit.tasks.token_classification.subwords import (
    SPECIAL_TOKENS,
    Window,
    WordSubwords,
    first_window,
    sequence_of,
    subwords_of_texts,
    subwords_of_words,
    windows_of,
)
from llmkit.tasks.token_classification.tags import entities_of, to_bio

logger = logging.getLogger("llmkit")
TagOverflow = Literal["error", "truncate", "window"]
TAG_CHUNK_ROWS = 512
"""Enough texts of each length for full batches; a long one becomes many windows."""


@dataclass(frozen=True, slots=True)
class Entity:
    start: int
    """The first character in the text, counted from 0."""
    end: int
    """The character after the last one."""
    label: str
    text: str
    score: float
    """Mean probability of the tags of its words, in 0..1."""


@dataclass(frozen=True, slots=True)
class TaggedWord:
    start: int
    end: int
    text: str
    tag: str
    score: float
    """Probability of the tag."""


class TaggedWords(Sequence[TaggedWord]):
    """The words of a text, each made where it is asked for: a long text has millions."""

    def __init__(self, text: str, spans: Sequence[Span], tags: Sequence[str], scores: Sequence[float]) -> None:
        """
        Args:
            spans: characters of each word; there may be more than tags, where the text was truncated.
        """
        self._text, self._spans, self._tags, self._scores = text, spans, tags, scores

    def __len__(self) -> int:
        return len(self._tags)

    @overload
    def __getitem__(self, place: int) -> TaggedWord: ...
    @overload
    def __getitem__(self, place: slice) -> list[TaggedWord]: ...
    def __getitem__(self, place: int | slice) -> TaggedWord | list[TaggedWord]:
        if isinstance(place, slice):
            return [self[index] for index in range(len(self))[place]]
        index = range(len(self))[place]
        start, end = self._spans[index]
        return TaggedWord(start, end, self._text[start:end], self._tags[index], self._scores[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))

    __hash__ = None  # type: ignore[assignment]  # as a list


@dataclass(frozen=True)
class Tagging:
    text: str
    """As given; of given words, these joined by spaces."""
    words: Sequence[TaggedWord]
    """All words that were read, in order. Their tags are in BIO where they are those of entities."""
    entities: list[Entity]
    """What their tags mean; empty for plain tags."""
    truncated_tokens: int
    """Tokens that the model did not see; 0 where the whole text was read."""
    given_words: list[str] | None = None
    """The words that were given in place of a text."""
    unknown_tokens: int = 0
    """Tokens that stand for text that the model cannot read."""


def entity_labels(loaded: LoadedModel) -> list[str] | None:
    """The labels of a model as `B-PER` or `O`, in whatever notation it has them; None where they are plain tags."""
    notation = notation_of(loaded.labels)
    if notation is None or SavedTokenClassification.load(loaded).scheme == "plain":
        return None
    return [notation.canonical(label) or OUTSIDE for label in loaded.labels]


def finds_entities(loaded: LoadedModel) -> bool:
    """Whether the tags of a model are those of entities."""
    return entity_labels(loaded) is not None


def tag_texts(
    loaded: LoadedModel,
    engine: Engine,
    texts: Iterable[str | Sequence[str]],
    *,
    overflow: TagOverflow,
    overlap: int,
) -> Iterator[Tagging]:
    """The words of each text with their tags, and the entities that these mean. Rows are counted from 1.

    A text is split into words as the training rows of the model were, or by its tokenizer where it was not trained on
    words.

    Args:
        texts: each a text, or a list of words.
        overflow: what becomes of a text longer than `loaded.window`: it is read in windows, or cut at its end, which
            is logged once, as a warning, when the results end.
        overlap: tokens that neighbouring windows share.
    Raises:
        DataError: an empty text or word, one that is not valid Unicode, or a text too long under `error`.
        ModelError: the model gives no finite numbers.
    """
    splitting = SavedTokenClassification.load(loaded).splitting
    long_texts = LongTextCount(loaded)
    unsplit = _UnsplitCount(splitting)
    try:
        for first_row, chunk in numbered_chunks(texts, size=TAG_CHUNK_ROWS):
            _check(chunk, first_row=first_row)
            subwords = _subwords(loaded, chunk, splitting)
            unsplit.add(chunk)
            _check_lengths(loaded, subwords, first_row=first_row, overflow=overflow)
            excess = [max(len(text_subwords.ids) + SPECIAL_TOKENS - loaded.window, 0) for text_subwords in subwords]
            truncated = excess if overflow == "truncate" else [0] * len(subwords)
            long_texts.add(truncated)
            joined = [text if isinstance(text, str) else " ".join(text) for text in chunk]
            unknown = long_texts.unknown.add(joined, [text_subwords.ids for text_subwords in subwords])
            tags = _predict_tags(loaded, engine, subwords, overflow, overlap)
            for text, text_subwords, tagged, *counts in zip(chunk, subwords, tags, truncated, unknown, strict=True):
                yield _tagging(loaded, text, text_subwords, tagged, *counts)
        long_texts.unknown.report()
    finally:
        long_texts.report()
        unsplit.report()


def _check(chunk: Sequence[str | Sequence[str]], *, first_row: int) -> None:
    """
    Raises:
        DataError: an empty text or word, or one that is not valid Unicode, with its row.
    """
    for row, text in enumerate(chunk, start=first_row):
        if isinstance(text, str):
            check_texts([text], first_row=row, may_be_empty=False)
            continue
        if not text:
            raise DataError(f"row {row:,}: the list of words is empty; remove the row or fill it")
        for word in text:
            if not isinstance(word, str):
                raise DataError(f"row {row:,}: a word is {word!r:.40}; give a text, or a list of words")
            check_texts([word], first_row=row, may_be_empty=False, what="word")


def _subwords(
    loaded: LoadedModel, chunk: Sequence[str | Sequence[str]], splitting: WordSplitting | None
) -> list[WordSubwords]:
    """Of each text; those of given words have the characters of these words, joined by spaces."""
    texts = [text for text in chunk if isinstance(text, str)]
    given = [list(text) for text in chunk if not isinstance(text, str)]
    of_texts = iter(subwords_of_texts(loaded.tokenizer, texts, splitting=splitting))
    of_words = iter(subwords_of_words(loaded.tokenizer, given))
    return [
        next(of_texts) if isinstance(text, str) else replace(next(of_words), spans=_joined_spans(text))
        for text in chunk
    ]


def _joined_spans(words: Sequence[str]) -> Spans:
    ends = itertools.accumulate(len(word) + 1 for word in words)
    return Spans((end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True))


class _UnsplitCount:
    """Counts texts in a script without spaces whose words are longer than those of the training, for one warning."""

    def __init__(self, splitting: WordSplitting | None) -> None:
        self._splitting = splitting
        self._texts = self._unsplit = 0

    def add(self, chunk: Sequence[str | Sequence[str]]) -> None:
        if self._splitting is None:
            return
        texts = [text for text in chunk if isinstance(text, str)]
        self._texts += len(texts)
        self._unsplit += sum(map(self._splitting.is_unsplit, texts))

    def report(self) -> None:
        if self._unsplit:
            logger.warning(
                "%s of %s texts have no spaces between words, and the model was trained on words of several characters; "
                "give lists of words",
                f"{self._unsplit:,}",
                f"{self._texts:,}",
            )


def _predict_tags(
    loaded: LoadedModel, engine: Engine, subwords: Sequence[WordSubwords], overflow: TagOverflow, overlap: int
) -> Iterator[tuple[list[str], Sequence[float]]]:
    """For each text the tags of its words and their probabilities, merged from its windows."""
    from llmkit.tasks.classification.scores import scores_of

    windows: list[list[Window]] = [
        [first_window(text_subwords, window_tokens=loaded.window)]
        if overflow == "truncate"
        else list(windows_of(text_subwords, window_tokens=loaded.window, overlap=overlap))
        for text_subwords in subwords
    ]
    windows = [[window for window in text_windows if window.words] for text_windows in windows]
    sequences = (
        sequence_of(loaded, text_subwords, window)
        for text_subwords, text_windows in zip(subwords, windows, strict=True)
        for window in text_windows
    )
    labels = entity_labels(loaded) or list(loaded.labels)
    logits = (array for chunk in in_chunks(sequences) for array in engine.token_logits(chunk))
    for text_subwords, text_windows in zip(subwords, windows, strict=True):
        tags: list[str] = []
        scores = array("d")
        for window in text_windows:
            probabilities = scores_of(
                next(logits)[window.positions(text_subwords)], "single_label_classification"
            )  # (words, C)
            classes = probabilities.argmax(axis=1)
            tags += [labels[index] for index in classes.tolist()]
            scores.extend(probabilities.max(axis=1).tolist())
        yield tags, scores


def _tagging(
    loaded: LoadedModel,
    given: str | Sequence[str],
    subwords: WordSubwords,
    tagged: tuple[list[str], Sequence[float]],
    truncated_tokens: int,
    unknown_tokens: int,
) -> Tagging:
    text = given if isinstance(given, str) else " ".join(given)
    of_entities = finds_entities(loaded)
    tags, scores = tagged
    words = TaggedWords(text, subwords.spans, to_bio(tags) if of_entities else tags, scores)
    entities = []
    for first, last, label in entities_of(tags) if of_entities else ():
        inside = words[first:last]
        start, end = inside[0].start, inside[-1].end
        score = sum(word.score for word in inside) / len(inside)
        entities.append(Entity(start, end, label, text[start:end], score))
    given_words = None if isinstance(given, str) else list(given)
    return Tagging(text, words, entities, truncated_tokens, given_words, unknown_tokens)


def _check_lengths(
    loaded: LoadedModel, subwords: Sequence[WordSubwords], *, first_row: int, overflow: TagOverflow
) -> None:
    if overflow != "error":
        return
    for row, text_subwords in enumerate(subwords, start=first_row):
        tokens = len(text_subwords.ids) + SPECIAL_TOKENS
        if tokens > loaded.window:
            raise DataError(
                f"row {row:,}: the text has {tokens:,} tokens, and {loaded.name} takes {loaded.window:,} at most; "
                "shorten it, or read it in windows with overflow window"
            )

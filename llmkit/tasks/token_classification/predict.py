"""From texts to the entities or the tags of their words, over an engine and a tokenizer.

Words are what the tokenizer splits a text into; offsets are characters of the text as it was given. Long texts are read
in windows that overlap, as in evaluation. Knows no files and no commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from llmkit.errors import DataError
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.base import Engine
from llmkit.tasks.inputs import LongTextCount, check_texts, numbered_chunks
from llmkit.tasks.token_classification.subwords import (
    SPECIAL_TOKENS,
    Window,
    WordSubwords,
    first_window,
    sequence_of,
    subwords_of_texts,
    windows_of,
)
from llmkit.tasks.token_classification.tags import entities_of, has_prefixes

TagOverflow = Literal["error", "truncate", "window"]
_CHUNK_ROWS = 512
"""Enough texts of each length for full batches; a long one becomes many windows."""


@dataclass(frozen=True)
class Entity:
    start: int
    """The first character in the text, counted from 0."""
    end: int
    """The character after the last one."""
    label: str
    text: str
    score: float
    """Mean probability of the tags of its words, in 0..1."""


@dataclass(frozen=True)
class TaggedWord:
    start: int
    end: int
    text: str
    tag: str
    score: float
    """Probability of the tag."""


@dataclass(frozen=True)
class Tagging:
    text: str
    words: list[TaggedWord]
    """All words that were read, in order."""
    entities: list[Entity]
    """What their tags mean; empty for plain tags."""
    truncated_tokens: int
    """Tokens that the model did not see; 0 where the whole text was read."""


def tag_texts(
    loaded: LoadedModel, engine: Engine, texts: Iterable[str], *, overflow: TagOverflow, overlap: int
) -> Iterator[Tagging]:
    """The words of each text with their tags, and the entities that these mean. Rows are counted from 1.

    Args:
        overflow: what becomes of a text longer than `loaded.window`: it is read in windows, or cut at its end, which
            is logged once, as a warning, when the results end.
        overlap: tokens that neighbouring windows share.
    Raises:
        DataError: an empty text, one that is not valid Unicode, or one too long under `error`.
        ModelError: the model gives no finite numbers.
    """
    long_texts = LongTextCount(loaded)
    try:
        for first_row, chunk in numbered_chunks(texts, size=_CHUNK_ROWS):
            check_texts(chunk, first_row=first_row, may_be_empty=False)
            subwords = subwords_of_texts(loaded.tokenizer, chunk)
            _check_lengths(loaded, subwords, first_row=first_row, overflow=overflow)
            excess = [max(len(text_subwords.ids) + SPECIAL_TOKENS - loaded.window, 0) for text_subwords in subwords]
            truncated = excess if overflow == "truncate" else [0] * len(subwords)
            long_texts.add(truncated)
            tags = _predict_tags(loaded, engine, subwords, overflow, overlap)
            for text, text_subwords, tagged, lost_tokens in zip(chunk, subwords, tags, truncated, strict=True):
                yield _tagging(loaded, text, text_subwords, tagged, truncated_tokens=lost_tokens)
    finally:
        long_texts.report()


def _predict_tags(
    loaded: LoadedModel, engine: Engine, subwords: Sequence[WordSubwords], overflow: TagOverflow, overlap: int
) -> Iterator[list[tuple[str, float]]]:
    """For each text the tags of its words with their probabilities, merged from its windows."""
    from llmkit.tasks.classification.scores import scores_of

    windows: list[list[Window]] = [
        [first_window(text_subwords, window_tokens=loaded.window)]
        if overflow == "truncate"
        else list(windows_of(text_subwords, window_tokens=loaded.window, overlap=overlap))
        for text_subwords in subwords
    ]
    windows = [[window for window in text_windows if window.words] for text_windows in windows]
    sequences = [
        sequence_of(loaded, text_subwords, window)
        for text_subwords, text_windows in zip(subwords, windows, strict=True)
        for window in text_windows
    ]
    logits = iter(engine.token_logits(sequences))
    for text_subwords, text_windows in zip(subwords, windows, strict=True):
        tagged: list[tuple[str, float]] = []
        for window in text_windows:
            probabilities = scores_of(
                next(logits)[window.positions(text_subwords)], "single_label_classification"
            )  # (words, C)
            classes = probabilities.argmax(axis=1)
            tagged += [
                (loaded.labels[index], float(row[index]))
                for index, row in zip(classes.tolist(), probabilities, strict=True)
            ]
        yield tagged


def _tagging(
    loaded: LoadedModel,
    text: str,
    subwords: WordSubwords,
    tagged: Sequence[tuple[str, float]],
    *,
    truncated_tokens: int,
) -> Tagging:
    words = [
        TaggedWord(start, end, text[start:end], tag, score)
        for (start, end), (tag, score) in zip(subwords.spans, tagged, strict=False)  # fewer where the text was cut
    ]
    entities = []
    for first, last, label in entities_of([word.tag for word in words]) if has_prefixes(loaded.labels) else ():
        inside = words[first:last]
        start, end = inside[0].start, inside[-1].end
        score = sum(word.score for word in inside) / len(inside)
        entities.append(Entity(start, end, label, text[start:end], score))
    return Tagging(text, words, entities, truncated_tokens)


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

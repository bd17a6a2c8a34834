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
from llmkit.tasks.inputs import Cuts, check_texts, numbered_chunks
from llmkit.tasks.token_classification.subwords import (
    SPECIAL_TOKENS,
    Window,
    WordPieces,
    first_window,
    pieces_of_texts,
    sequence_of,
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
    """The first character behind."""
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
        DataError: an empty text, one that is no valid Unicode, or one too long under `error`.
        ModelError: the model gives no finite numbers.
    """
    cuts = Cuts(loaded)
    try:
        for first_row, chunk in numbered_chunks(texts, size=_CHUNK_ROWS):
            check_texts(chunk, first_row=first_row, may_be_empty=False)
            pieces = pieces_of_texts(loaded.tokenizer, chunk)
            _check_lengths(loaded, pieces, first_row=first_row, overflow=overflow)
            over = [max(len(one.ids) + SPECIAL_TOKENS - loaded.window, 0) for one in pieces]
            lost = over if overflow == "truncate" else [0] * len(pieces)
            cuts.count(lost)
            read = _read(loaded, engine, pieces, overflow, overlap)
            for text, one, tagged, unread in zip(chunk, pieces, read, lost, strict=True):
                yield _tagging(loaded, text, one, tagged, truncated_tokens=unread)
    finally:
        cuts.warn()


def _read(
    loaded: LoadedModel, engine: Engine, pieces: Sequence[WordPieces], overflow: TagOverflow, overlap: int
) -> Iterator[list[tuple[str, float]]]:
    """For each text the tags of its words with their probabilities, stitched from its windows."""
    from llmkit.tasks.classification.scores import scores_of

    windows: list[list[Window]] = [
        [first_window(one, window_tokens=loaded.window)]
        if overflow == "truncate"
        else list(windows_of(one, window_tokens=loaded.window, overlap=overlap))
        for one in pieces
    ]
    windows = [[window for window in of_text if window.words] for of_text in windows]
    sequences = [sequence_of(loaded, one, window) for one, held in zip(pieces, windows, strict=True) for window in held]
    logits = iter(engine.token_logits(sequences))
    for one, of_text in zip(pieces, windows, strict=True):
        tagged: list[tuple[str, float]] = []
        for window in of_text:
            shares = scores_of(next(logits)[window.positions(one)], "label")  # (words, C)
            classes = shares.argmax(axis=1)
            tagged += [
                (loaded.labels[index], float(row[index])) for index, row in zip(classes.tolist(), shares, strict=True)
            ]
        yield tagged


def _tagging(
    loaded: LoadedModel, text: str, pieces: WordPieces, tagged: Sequence[tuple[str, float]], *, truncated_tokens: int
) -> Tagging:
    words = [
        TaggedWord(start, end, text[start:end], tag, score)
        for (start, end), (tag, score) in zip(pieces.spans, tagged, strict=False)  # fewer where the text was cut
    ]
    entities = []
    for first, last, label in entities_of([word.tag for word in words]) if has_prefixes(loaded.labels) else ():
        inside = words[first:last]
        start, end = inside[0].start, inside[-1].end
        score = sum(word.score for word in inside) / len(inside)
        entities.append(Entity(start, end, label, text[start:end], score))
    return Tagging(text, words, entities, truncated_tokens)


def _check_lengths(loaded: LoadedModel, pieces: Sequence[WordPieces], *, first_row: int, overflow: TagOverflow) -> None:
    if overflow != "error":
        return
    for row, one in enumerate(pieces, start=first_row):
        tokens = len(one.ids) + SPECIAL_TOKENS
        if tokens > loaded.window:
            raise DataError(
                f"row {row:,}: the text has {tokens:,} tokens, and {loaded.name} takes {loaded.window:,} at most; "
                "shorten it, or read it in windows with overflow window"
            )

"""How a tagger that was trained on words splits a text into words: as the words of its training were split.

At white space, and marks come off the ends of a word where they stood alone in training: `London.` becomes `London` and
`.`, but `U.S.` stays whole if the training rows have it. Marks that no longer training word contains split words wherever
they are: `max_len` becomes `max`, `_` and `len` if all training words are split so. Learnt from the training words and kept with the model, so that
these words, joined by spaces, are split into themselves. Knows no tokenizers.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from llmkit.recipe.blocks import Block
from llmkit.tasks.token_classification.spans import Span, Spans

_CHUNK = re.compile(r"\S+")
_MOST_EXCEPTIONS = 2000
_LONGEST_MARK = 3
_LEAST_ALONE = 0.2
"""Share of its occurrences at the end of words in which a mark must stand alone: hashtags begin with no such mark."""
_LEAST_INSIDE = 5
"""Occurrences of a mark that show that it never stands inside a word."""
_NEVER_BEFORE, _NEVER_AFTER = frozenset(".,;:!?%\u2026\u3002"), frozenset("@#")
_CLOSING, _OPENING = {"Pe", "Pf"}, {"Ps", "Pi"}
"""Categories of characters."""
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, kana and Chinese characters, which have no spaces between words."""
_Words = Annotated[tuple[str, ...], Field(strict=False)]
"""A list in JSON."""


class WordSplitting(Block):
    """Kept in the config of a model that was trained on words."""

    marks_before: _Words = ()
    """Come off the beginning of a word: quotation marks, brackets."""
    marks_after: _Words = ()
    """Come off its end: full stops, commas, `'s`."""
    marks_inside: _Words = ()
    """Split a word wherever they are: single characters that no longer training word contains."""
    whole_words: _Words = ()
    """Training words that stay whole although they have such a mark."""
    characters: bool = True
    """Whether each Chinese character, or one of another script without spaces, is a word."""
    longest_unspaced: int = 0
    """Characters of the longest training word in such a script, where its words have several."""

    def spans(self, text: str) -> Spans:
        """Characters of each word of a text."""
        # A mark that stands apart somewhere is written apart in this text, as in a sentence of joined words.
        apart = frozenset(match[0] for match in _CHUNK.finditer(text))
        return Spans(span for match in _CHUNK.finditer(text) for span in self._of_chunk(text, *match.span(), apart))

    def is_unsplit(self, text: str) -> bool:
        """Whether a text in a script without spaces has a word that is longer than all training words."""
        return not self.characters and any(
            len(run[0]) > self.longest_unspaced for run in re.finditer(f"{UNSPACED.pattern}+", text)
        )

    def _of_chunk(self, text: str, start: int, end: int, apart: frozenset[str]) -> Iterator[Span]:
        before: list[Span] = []
        after: list[Span] = []
        while not self._is_whole(text[start:end], apart):
            chunk = text[start:end]
            mark = next((mark for mark in self.marks_before if chunk.startswith(mark) and mark not in apart), None)
            if mark is not None:
                before.append((start, start + len(mark)))
                start += len(mark)
                continue
            mark = next((mark for mark in self.marks_after if chunk.endswith(mark) and mark not in apart), None)
            if mark is None:
                break
            after.append((end - len(mark), end))
            end -= len(mark)
        yield from before
        whole = self._is_whole(text[start:end], apart)
        yield from [(start, end)] if whole else self._inside(text, start, end, apart)
        yield from reversed(after)

    def _is_whole(self, chunk: str, apart: frozenset[str]) -> bool:
        if chunk in _as_set(self.whole_words) or chunk in self.marks_before or chunk in self.marks_after:
            return True
        return bool(_INITIALS.fullmatch(chunk)) and _has_abbreviations(self.whole_words)

    def _inside(self, text: str, start: int, end: int, apart: frozenset[str]) -> Iterator[Span]:
        marks = _as_set(self.marks_inside) - apart
        first = start
        for place in range(start, end):
            if text[place] in marks or (self.characters and UNSPACED.match(text[place])):
                if first < place:
                    yield first, place
                last = place + 1
                while last < end and unicodedata.combining(text[last]):
                    last += 1
                yield place, last
                first = last
        if first < end:
            yield first, end


@dataclass
class WordCount:
    """The words of some rows, and how many rows had texts in place of words."""

    words: Counter[str] = field(default_factory=Counter)
    rows_of_words: int = 0
    rows_of_text: int = 0

    def add(self, sentences: Iterable[Sequence[str]], *, texts: int = 0) -> None:
        for words in sentences:
            self.words.update(words)
            self.rows_of_words += 1
        self.rows_of_text += texts

    @property
    def mostly_words(self) -> bool:
        return bool(self.words) and self.rows_of_words >= self.rows_of_text

    def splitting(self) -> WordSplitting:
        """What splits texts as these words were."""
        return _learnt(self.words)


def _learnt(counts: Counter[str]) -> WordSplitting:
    marks = [word for word in counts if len(word) <= _LONGEST_MARK and not word[0].isalnum()]
    unspaced = [word for word in counts if UNSPACED.search(word)]
    longer = [word for word in unspaced if _is_longer(word)]
    characters = 2 * sum(counts[word] for word in longer) <= sum(counts[word] for word in unspaced)
    splitting = WordSplitting(
        marks_before=_often_alone(list(filter(_may_open, marks)), counts, at_end=False),
        marks_after=_often_alone(list(filter(_may_close, marks)), counts, at_end=True),
        marks_inside=_never_inside(marks, counts),
        characters=characters,
        longest_unspaced=0 if characters else max(map(len, longer)),
    )
    cut = [word for word, _ in counts.most_common() if splitting.spans(word) != [(0, len(word))]]
    return splitting.model_copy(update={"whole_words": tuple(cut[:_MOST_EXCEPTIONS])})


def _is_longer(word: str) -> bool:
    return len(word) > 1 and not all(map(unicodedata.combining, word[1:]))


def _may_open(mark: str) -> bool:
    """Whether it may come off the beginning of a word."""
    bad = any(letter.isalnum() or letter in _NEVER_BEFORE for letter in mark)
    return not bad and unicodedata.category(mark[0]) not in _CLOSING


def _may_close(mark: str) -> bool:
    return mark[0] not in _NEVER_AFTER and unicodedata.category(mark[0]) not in _OPENING


def _often_alone(marks: Sequence[str], counts: Counter[str], *, at_end: bool) -> tuple[str, ...]:
    """The marks that are words of their own often enough, beside those at that end of longer words; longest first."""
    attached: Counter[str] = Counter()
    for word, count in counts.items():
        for length in range(1, min(_LONGEST_MARK, len(word) - 1) + 1):
            attached[word[-length:] if at_end else word[:length]] += count
    alone = [mark for mark in marks if counts[mark] >= _LEAST_ALONE * (counts[mark] + attached[mark])]
    return tuple(sorted(alone, key=lambda mark: (-len(mark), mark)))


def _never_inside(marks: Sequence[str], counts: Counter[str]) -> tuple[str, ...]:
    """The single characters that are words of their own several times, and in no longer word."""
    inside = {letter for word in counts if len(word) > 1 for letter in word}
    return tuple(
        sorted(mark for mark in marks if len(mark) == 1 and counts[mark] >= _LEAST_INSIDE and mark not in inside)
    )


@lru_cache(maxsize=8)
def _as_set(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(words)


@lru_cache(maxsize=8)
def _has_abbreviations(words: tuple[str, ...]) -> bool:
    return any(word.endswith(".") for word in words)

"""Words as subwords, in windows: the input of a tagger, in training and in use.

A word is predicted once, at its first subword: where windows overlap, in the window with the most context on both
sides. So every word of a long text is read, none twice, and none is shifted by another.
Legend: a subword is counted from 0 in its text without special tokens, a position in a sequence with them.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from tokenizers import pre_tokenizers

from llmkit.data.windows import default_overlap, window_starts
from llmkit.errors import UsageError
from llmkit.models.threads import locked_tokenizer
from llmkit.tasks.long_texts import LONG_CHARACTERS, long_text_run
from llmkit.tasks.offsets import without_spaces
from llmkit.tasks.token_classification.spans import Span, Spans
from llmkit.tasks.token_classification.splitting import WordSplitting

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llmkit.models.loaded import LoadedModel

Item = TypeVar("Item")
_MANY_WORDS = 20_000
"""A tokenizer needs much memory for each word: so many words are encoded at a time."""
SPECIAL_TOKENS = 2
"""[CLS] before the text and [SEP] after it."""
_ATTACHED = {"Mn", "Me", "Cf"}
"""Categories of characters that belong to the character before: accents, variation selectors, joiners."""


@dataclass(frozen=True)
class WordSubwords:
    """The words of one text."""

    ids: Sequence[int]
    """All subwords, without special tokens."""
    firsts: Sequence[int]
    """The first subword of each word, ascending."""
    spans: Sequence[Span]
    """Characters of each word in its text, the end exclusive; empty where the text was given as words."""
    unknown_words: int = 0
    """Words that the tokenizer has no subword for, such as a lone zero-width space; each is read as [UNK]."""


@dataclass(frozen=True, slots=True)
class Window:
    """Subwords `start` to `end` of a text, and the words that are predicted there."""

    start: int
    end: int
    words: range

    def positions(self, subwords: WordSubwords) -> list[int]:
        """Positions in `sequence_of` of the first subwords of its words."""
        return [1 + subwords.firsts[word] - self.start for word in self.words]


def subwords_of_words(tokenizer: PreTrainedTokenizerFast, sentences: Sequence[Sequence[str]]) -> list[WordSubwords]:
    """Subwords of texts that are lists of words; every word has at least one."""
    if not sentences:
        return []  # the tokenizer would raise
    if any(len(words) > _MANY_WORDS for words in sentences):
        return [
            _joined(subwords_of_words(tokenizer, [part])[0] for part in _in_parts(words, size=_MANY_WORDS))
            if len(words) > _MANY_WORDS
            else subwords_of_words(tokenizer, [words])[0]
            for words in sentences
        ]
    texts = _with_spaces(sentences) if _is_byte_level(tokenizer) else [list(words) for words in sentences]
    encoding = _encoded(tokenizer, texts, pre_split=True)
    return [
        _with_unknowns(
            encoding["input_ids"][index], encoding.word_ids(index), word_count=len(words), unk_id=tokenizer.unk_token_id
        )
        for index, words in enumerate(sentences)
    ]


def subwords_of_texts(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, splitting: WordSplitting | None = None
) -> list[WordSubwords]:
    """Subwords of the words of texts.

    Args:
        splitting: how a text becomes words; None for the tokenizer's own rules: in Chinese, each character is a word.
    """
    if not texts:
        return []
    if splitting is not None:
        spans_of_texts = [splitting.spans(text) for text in texts]
        if any(len(spans) > _MANY_WORDS for spans in spans_of_texts):
            return [
                _subwords_of_spans(tokenizer, text, spans) for text, spans in zip(texts, spans_of_texts, strict=True)
            ]
        words = [[text[start:end] for start, end in spans] for text, spans in zip(texts, spans_of_texts, strict=True)]
        of_words = subwords_of_words(tokenizer, words)
        return [replace(one, spans=spans) for one, spans in zip(of_words, spans_of_texts, strict=True)]
    if any(len(text) > LONG_CHARACTERS for text in texts):
        return [
            _subwords_of_long_text(tokenizer, text)
            if len(text) > LONG_CHARACTERS
            else subwords_of_texts(tokenizer, [text])[0]
            for text in texts
        ]
    encoding = _encoded(tokenizer, list(texts), pre_split=False)
    subwords = []
    for index, text in enumerate(texts):
        words, offsets = encoding.word_ids(index), encoding["offset_mapping"][index]
        begins = [subword for subword, word in enumerate(words) if subword == 0 or word != words[subword - 1]]
        starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
        subwords.append(_words_of(encoding["input_ids"][index], begins, starts, ends, text))
    return subwords


def _subwords_of_spans(tokenizer: PreTrainedTokenizerFast, text: str, spans: Sequence[Span]) -> WordSubwords:
    """The words of a long text are made part by part."""
    parts = ([text[start:end] for start, end in part] for part in _in_parts(spans, size=_MANY_WORDS))
    return replace(_joined(subwords_of_words(tokenizer, [words])[0] for words in parts), spans=spans)


def _in_parts(items: Sequence[Item], *, size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _joined(parts: Iterable[WordSubwords]) -> WordSubwords:
    """The subwords of all words of several parts: each word is encoded on its own."""
    ids, firsts = array("i"), array("i")
    unknown_words = 0
    for part in parts:
        firsts.extend(len(ids) + first for first in part.firsts)
        ids.extend(part.ids)
        unknown_words += part.unknown_words
    return WordSubwords(ids, firsts, [], unknown_words)


def _subwords_of_long_text(tokenizer: PreTrainedTokenizerFast, text: str) -> WordSubwords:
    run = long_text_run(tokenizer, text, names_are_text=True)
    begins = array("i", (subword for subword, begins in enumerate(run.begins_word) if begins))
    return _words_of(run.ids, begins, run.starts, run.ends, text)


def _words_of(
    ids: Sequence[int], begins: Sequence[int], starts: Sequence[int], ends: Sequence[int], text: str
) -> WordSubwords:
    """The words of a text from the tokenizer's, without those that are white space alone, as byte-level BPE has them.

    Args:
        begins: the first subword of each word. It may be the space before the word, as for a list of words.
        starts, ends: offsets of each subword.
    """
    firsts = array("i")

    def spans() -> Iterator[Span]:
        for first, end in pairwise(chain(begins, (len(ids),))):
            span = without_spaces(text, starts[first], max(ends[first:end]))
            if span[0] < span[1]:
                firsts.append(first)
                yield span

    places = _with_attached(Spans(spans()), text)
    return WordSubwords(ids, firsts, places)


def sequence_of(loaded: LoadedModel, subwords: WordSubwords, window: Window) -> list[int]:
    """The ids that the model reads of a window, special tokens included."""
    tokenizer = loaded.tokenizer
    return [tokenizer.cls_token_id, *subwords.ids[window.start : window.end], tokenizer.sep_token_id]


def windows_of(subwords: WordSubwords, *, window_tokens: int, overlap: int) -> Iterator[Window]:
    """Windows over a text, each word in exactly one of them; none for a text without words.

    Args:
        window_tokens: the most that a sequence may have, special tokens included.
        overlap: subwords that neighbouring windows share.
    """
    room = window_tokens - SPECIAL_TOKENS
    length = len(subwords.ids)
    starts = window_starts(length, size=room, overlap=overlap)
    window_of = _window_of_each(subwords.firsts, starts, room=room)
    word = 0
    for index, start in enumerate(starts):
        first = word
        while word < len(window_of) and window_of[word] == index:
            word += 1
        if word > first:
            yield Window(start, min(start + room, length), range(first, word))


def first_window(subwords: WordSubwords, *, window_tokens: int) -> Window:
    """The window of a text that is truncated, with the words that begin in it."""
    room = window_tokens - SPECIAL_TOKENS
    return Window(0, min(room, len(subwords.ids)), range(sum(first < room for first in subwords.firsts)))


def overlap_of(window_tokens: int, window_overlap: int | None) -> int:
    """`window_overlap`, or a quarter of the window where it is None.

    Raises:
        UsageError: it leaves no step forward.
    """
    overlap = default_overlap(window_tokens) if window_overlap is None else window_overlap
    room = window_tokens - SPECIAL_TOKENS
    if overlap >= room:
        raise UsageError(f"window_overlap: {overlap:,} leaves no step forward; windows hold {room:,} tokens of text.")
    return overlap


def _encoded(tokenizer: PreTrainedTokenizerFast, texts: Sequence[Any], *, pre_split: bool) -> Any:
    """Never truncated; the name of a special token in a text is text."""
    with locked_tokenizer(tokenizer):
        return tokenizer(
            texts,
            is_split_into_words=pre_split,
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )


def _is_byte_level(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether the space before a word belongs to its first token and is not added by the tokenizer itself."""
    splitter = tokenizer.backend_tokenizer.pre_tokenizer
    return isinstance(splitter, pre_tokenizers.ByteLevel) and not splitter.add_prefix_space


def _with_spaces(sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    """Words as they are in a text: all but the first after a space."""
    return [[*words[:1], *(f" {word}" for word in words[1:])] for words in sentences]


def _with_unknowns(ids: Sequence[int], word_ids: Sequence[int], *, word_count: int, unk_id: int) -> WordSubwords:
    """Subwords in the order of their words, with the unknown token for each word that has none."""
    subword_ids: list[int] = []
    firsts: list[int] = []
    unknown_words = 0
    for subword_id, word in [*zip(ids, word_ids, strict=True), (None, word_count)]:
        while len(firsts) < word:  # words before this one that have no subword
            firsts.append(len(subword_ids))
            subword_ids.append(unk_id)
            unknown_words += 1
        if subword_id is None:
            break
        if len(firsts) == word:
            firsts.append(len(subword_ids))
        subword_ids.append(subword_id)
    return WordSubwords(subword_ids, firsts, [], unknown_words)


def _with_attached(spans: Sequence[Span], text: str) -> Spans:
    """Words with the accents and joiners after them, which tokenizers drop: `e` and U+0301 are one letter."""

    def extended() -> Iterator[Span]:
        for (start, end), (limit, _) in pairwise(chain(spans, ((len(text), 0),))):
            while end < limit and unicodedata.category(text[end]) in _ATTACHED:
                end += 1
            yield start, end

    return Spans(extended())


def _window_of_each(firsts: Sequence[int], starts: Sequence[int], *, room: int) -> list[int]:
    """For each word the window with the most context on both sides of its first subword; the earlier of equals."""

    def context(window: int, subword: int) -> float:
        left = subword - starts[window] if window > 0 else float("inf")  # no text comes before the first window
        right = starts[window] + room - 1 - subword if window + 1 < len(starts) else float("inf")
        return min(left, right)

    windows = []
    window = 0
    for subword in firsts:
        while window + 1 < len(starts) and context(window + 1, subword) > context(window, subword):
            window += 1
        windows.append(window)
    return windows

"""Words as pieces of a tokenizer, in windows: what a tagger reads, in training and in use.

A word is predicted at its first piece, and once: where windows overlap, in the one that shows most text on both of its
sides. So every word of a long text is read, none twice, and none is shifted by another.
Legend: a piece is counted from 0 in its text without special tokens, a position in a sequence with them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.data.windows import default_overlap, window_starts
from llmkit.errors import UsageError
from llmkit.models.threads import own_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llmkit.models.loaded import LoadedModel

SPECIAL_TOKENS = 2
"""[CLS] in front and [SEP] behind."""
_ATTACHED = {"Mn", "Me", "Cf"}
"""Categories of characters that belong to the one before: accents, variation selectors, joiners."""


@dataclass(frozen=True)
class WordPieces:
    """The words of one text."""

    ids: list[int]
    """All pieces, without special tokens."""
    firsts: list[int]
    """The first piece of each word, rising."""
    spans: list[tuple[int, int]]
    """Characters of each word in its text, the end exclusive; empty where words were given."""
    unwritten: int = 0
    """Words that the tokenizer has no piece for, such as a lone zero-width space; each is read as [UNK]."""


@dataclass(frozen=True)
class Window:
    """Pieces `start` to `end` of a text, and the words that are predicted there."""

    start: int
    end: int
    words: range

    def positions(self, pieces: WordPieces) -> list[int]:
        """Of the first pieces of its words in `sequence_of`."""
        return [1 + pieces.firsts[word] - self.start for word in self.words]


def pieces_of_words(tokenizer: PreTrainedTokenizerFast, sentences: Sequence[Sequence[str]]) -> list[WordPieces]:
    """Pieces of words that are given; every word has one at least."""
    if not sentences:
        return []  # the tokenizer would raise
    encoding = _encoded(tokenizer, [list(words) for words in sentences], words_given=True)
    return [
        _in_place(encoding["input_ids"][index], encoding.word_ids(index), count=len(words), unknown=_unknown(tokenizer))
        for index, words in enumerate(sentences)
    ]


def pieces_of_texts(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[WordPieces]:
    """Pieces of the words that the tokenizer's own rules find: in Chinese, each character is one."""
    if not texts:
        return []
    encoding = _encoded(tokenizer, list(texts), words_given=False)
    found = []
    for index, text in enumerate(texts):
        firsts: list[int] = []
        spans: list[tuple[int, int]] = []
        before = None
        for piece, (word, (start, end)) in enumerate(
            zip(encoding.word_ids(index), encoding["offset_mapping"][index], strict=True)
        ):
            if word != before:
                firsts.append(piece)
                spans.append((start, end))
            spans[-1] = (spans[-1][0], end)
            before = word
        found.append(WordPieces(encoding["input_ids"][index], firsts, _with_attached(spans, text)))
    return found


def sequence_of(loaded: LoadedModel, pieces: WordPieces, window: Window) -> list[int]:
    """The ids that the model reads of a window, special tokens included."""
    tokenizer = loaded.tokenizer
    return [tokenizer.cls_token_id, *pieces.ids[window.start : window.end], tokenizer.sep_token_id]


def windows_of(pieces: WordPieces, *, window_tokens: int, overlap: int) -> Iterator[Window]:
    """Windows over a text, each word in exactly one of them; none for a text without words.

    Args:
        window_tokens: the most that a sequence may have, special tokens included.
        overlap: pieces that neighbours share.
    """
    room = window_tokens - SPECIAL_TOKENS
    length = len(pieces.ids)
    starts = window_starts(length, size=room, overlap=overlap)
    window_of = _window_of_each(pieces.firsts, starts, room=room)
    word = 0
    for index, start in enumerate(starts):
        first = word
        while word < len(window_of) and window_of[word] == index:
            word += 1
        if word > first:
            yield Window(start, min(start + room, length), range(first, word))


def first_window(pieces: WordPieces, *, window_tokens: int) -> Window:
    """What is left of a text that is cut at its end: the words that begin there."""
    room = window_tokens - SPECIAL_TOKENS
    return Window(0, min(room, len(pieces.ids)), range(sum(first < room for first in pieces.firsts)))


def overlap_of(window_tokens: int, wanted: int | None) -> int:
    """The overlap that is wanted, else a quarter of the window.

    Raises:
        UsageError: it leaves no step forward.
    """
    overlap = default_overlap(window_tokens) if wanted is None else wanted
    room = window_tokens - SPECIAL_TOKENS
    if overlap >= room:
        raise UsageError(f"window_overlap: {overlap:,} leaves no step forward; windows hold {room:,} tokens of text.")
    return overlap


def _encoded(tokenizer: PreTrainedTokenizerFast, texts: Sequence[Any], *, words_given: bool) -> Any:
    """Without the tokenizer's own limit; the name of a special token in a text is text."""
    with own_turn(tokenizer):
        return tokenizer(
            texts,
            is_split_into_words=words_given,
            add_special_tokens=False,
            split_special_tokens=True,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )


def _unknown(tokenizer: PreTrainedTokenizerFast) -> int:
    unknown: int = tokenizer.unk_token_id
    return unknown


def _in_place(ids: Sequence[int], word_ids: Sequence[int], *, count: int, unknown: int) -> WordPieces:
    """Pieces in the order of their words, with the unknown token for each word that has none."""
    held: list[int] = []
    firsts: list[int] = []
    unwritten = 0
    for piece, word in [*zip(ids, word_ids, strict=True), (None, count)]:
        while len(firsts) < word:  # words in front of this one that were passed over
            firsts.append(len(held))
            held.append(unknown)
            unwritten += 1
        if piece is None:
            break
        if len(firsts) == word:
            firsts.append(len(held))
        held.append(piece)
    return WordPieces(held, firsts, [], unwritten)


def _with_attached(spans: Sequence[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """Words with the accents and joiners behind them, which tokenizers take off: `e` and U+0301 are one letter."""
    made = []
    nexts = [start for start, _ in spans[1:]] + [len(text)]
    for (start, end), limit in zip(spans, nexts, strict=False):
        while end < limit and unicodedata.category(text[end]) in _ATTACHED:
            end += 1
        made.append((start, end))
    return made


def _window_of_each(firsts: Sequence[int], starts: Sequence[int], *, room: int) -> list[int]:
    """For each word the window that shows most text on both sides of its first piece; the earlier one of equals."""

    def context(window: int, piece: int) -> float:
        left = piece - starts[window] if window > 0 else float("inf")  # nothing stands in front of the first window
        right = starts[window] + room - 1 - piece if window + 1 < len(starts) else float("inf")
        return min(left, right)

    chosen = []
    window = 0
    for piece in firsts:
        while window + 1 < len(starts) and context(window + 1, piece) > context(window, piece):
            window += 1
        chosen.append(window)
    return chosen

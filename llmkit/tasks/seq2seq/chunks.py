"""A long text in parts that fit a model, and one result from theirs. Knows no engine and no recipe.

A part ends at the end of a sentence where one lies in its second half, else between two words, else between two
tokens. The next part begins some tokens earlier, at such a place too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.data.windows import default_overlap
from llmkit.errors import UsageError
from llmkit.models.threads import own_turn
from llmkit.tasks.sentences import ends_sentence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger("llmkit")
_LEAST_ROOM = 8
"""Tokens for the text of a part; a single character may take five."""


@dataclass(frozen=True)
class Cut:
    """How long texts are cut for a model, and what stands in front of every part."""

    tokenizer: PreTrainedTokenizerFast
    prefix: str
    max_tokens: int
    """Of a part, prefix and special tokens included."""
    overlap_tokens: int | None = None
    """Of a part that stand in the one before it, too; None for a quarter of `max_tokens`."""

    def parts(self, text: str) -> list[list[int]]:
        """Ids of the whole text where it fits, else of its parts; the prefix and the closing token are in each.

        Raises:
            UsageError: prefix and closing token leave no room for text.
        """
        whole = self._ids(text)
        if len(whole) <= self.max_tokens:
            return [whole]
        room = self.max_tokens - len(self._ids(""))
        if room < _LEAST_ROOM:
            raise UsageError(
                f"parts of {self.max_tokens:,} tokens have room for {max(room, 0)} beside the prefix {self.prefix!r}; "
                f"{_LEAST_ROOM} are the least. Raise max_source_tokens."
            )
        overlap = default_overlap(self.max_tokens) if self.overlap_tokens is None else self.overlap_tokens
        pieces = text_parts(text, self._starts(text), size=room, overlap=min(overlap, room - 1))
        return [ids for piece in pieces for ids in self._fitting(piece)]

    def _fitting(self, piece: str) -> list[list[int]]:
        """The ids of a piece; of its halves where it was cut inside a word and came out longer than it was."""
        ids = self._ids(piece)
        if len(ids) <= self.max_tokens or len(piece) < 2:
            return [ids]
        middle = piece.rfind(" ", 1, len(piece) // 2) + 1 or len(piece) // 2
        return [*self._fitting(piece[:middle].rstrip()), *self._fitting(piece[middle:])]

    def _ids(self, text: str) -> list[int]:
        with own_turn(self.tokenizer):
            ids: list[int] = self.tokenizer(self.prefix + text, truncation=False, verbose=False)["input_ids"]
        return ids

    def _starts(self, text: str) -> list[int]:
        """The character that each token of the text begins with, rising; a token of white space counts as the next."""
        with own_turn(self.tokenizer):
            encoded: Any = self.tokenizer(
                text, add_special_tokens=False, truncation=False, verbose=False, return_offsets_mapping=True
            )
        starts = []
        for start, end in encoded["offset_mapping"]:
            while start < end and text[start].isspace():
                start += 1
            starts.append(start)
        return starts


def text_parts(text: str, starts: Sequence[int], *, size: int, overlap: int) -> list[str]:
    """Pieces of at most `size` tokens that together hold all of the text, but for white space around them.

    Args:
        starts: where each token begins, rising.
        overlap: tokens that a piece shares with the one before it, more or less, so that it begins with a whole word.
    Raises:
        ValueError: an overlap that leaves no step forward.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"an overlap of {overlap} leaves no step forward in parts of {size}")
    bounds = [*starts, len(text)]
    pieces: list[str] = []
    begin, token = 0, 0  # character and token of the piece
    while len(starts) - token > size:
        end = _best_end(text, bounds, first=token + max(1, size // 2), last=token + size)
        pieces.append(text[begin : bounds[end]].strip())
        # The earliest border from which the overlap is no longer than asked; the end itself is one.
        again = max(token + 1, end - overlap)
        token = next((place for place in range(again, end) if _is_border(text, bounds[place])), end)
        begin = bounds[token]
    return [piece for piece in [*pieces, text[begin:].strip()] if piece]


def _best_end(text: str, bounds: Sequence[int], *, first: int, last: int) -> int:
    """The last token in front of which a sentence is over, else a word, else the last of all."""
    places = range(last, first - 1, -1)
    borders = [place for place in places if _is_border(text, bounds[place])]
    sentence = next((place for place in borders if ends_sentence(text, bounds[place])), None)
    if sentence is not None:
        return sentence
    return borders[0] if borders else last


def _is_border(text: str, place: int) -> bool:
    """Whether no word goes on here; a script without spaces has a border behind each sentence only."""
    return place == 0 or text[place - 1].isspace() or ends_sentence(text, place)


def write_in_rounds(
    parts: Sequence[Sequence[list[int]]],
    *,
    write: Callable[[list[list[int]]], list[str]],
    cut: Callable[[str], list[list[int]]],
) -> list[str]:
    """One text for each of several, whatever their length: the texts of the parts, joined, are written about again.

    Args:
        parts: of each text; one where it fits.
        write: a text for each sequence of ids.
        cut: the parts of a joined text.
    Returns:
        In order. Where joining gave nothing shorter, the joined texts themselves; a warning counts these.
    """
    results = [""] * len(parts)
    waiting = {index: list(own) for index, own in enumerate(parts)}
    unshortened = 0
    while waiting:
        written = iter(write([ids for own in waiting.values() for ids in own]))
        next_round: dict[int, list[list[int]]] = {}
        for index, own in waiting.items():
            texts = [next(written) for _ in own]
            if len(own) == 1:
                results[index] = texts[0]
                continue
            joined = " ".join(text.strip() for text in texts if text.strip())
            again = cut(joined)
            if not joined:
                continue
            if sum(map(len, again)) < sum(map(len, own)):
                next_round[index] = again
            else:
                results[index] = joined
                unshortened += 1
        waiting = next_round
    if unshortened:
        logger.warning(
            "%s of %s texts: what was written about their parts came out no shorter, and was joined as it stands",
            f"{unshortened:,}",
            f"{len(parts):,}",
        )
    return results

"""Chunks of a long text that fit a model, and one result from theirs. Knows no engine and no recipe.

A chunk ends at the end of a sentence where its second half has one, else between two words, else between two tokens.
The next chunk begins some tokens earlier, at such a position too.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.data.windows import default_overlap
from llmkit.errors import UsageError
from llmkit.models.threads import locked_tokenizer
from llmkit.tasks.decoding import Written
from llmkit.tasks.long_texts import LONG_CHARACTERS, long_text_ids, token_runs
from llmkit.tasks.sentences import ends_sentence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger("llmkit")
_LEAST_ROOM = 8
"""Tokens for the text of a chunk; a single character may take five."""


@dataclass(frozen=True)
class TextSplitter:
    """Splits texts into chunks for a model, each with a prefix."""

    tokenizer: PreTrainedTokenizerFast
    prefix: str
    max_tokens: int
    """Of a chunk, prefix and special tokens included."""
    overlap_tokens: int | None = None
    """Shared by neighbouring chunks; None for a quarter of `max_tokens`."""

    def split(self, text: str) -> list[Sequence[int]]:
        """Ids of the whole text where it fits, else of its chunks, each with the prefix and the closing token. Of a very
        long text they are arrays.

        Raises:
            UsageError: prefix and closing token leave no room for text.
        """
        is_long = len(text) > LONG_CHARACTERS
        starts = self._starts(text) if is_long else ()
        if len(starts) <= self.max_tokens:
            whole = self._ids(text)
            if len(whole) <= self.max_tokens:
                return [whole]
        room = self.max_tokens - len(self._ids(""))
        if room < _LEAST_ROOM:
            raise UsageError(
                f"chunks of {self.max_tokens:,} tokens have room for {max(room, 0)} beside the prefix {self.prefix!r}; "
                f"at least {_LEAST_ROOM} are needed. Raise max_source_tokens."
            )
        overlap = default_overlap(self.max_tokens) if self.overlap_tokens is None else self.overlap_tokens
        chunks = split_text(text, starts or self._starts(text), size=room, overlap=min(overlap, room - 1))
        return [array("i", ids) if is_long else ids for chunk in chunks for ids in self._fitting(chunk)]

    def _fitting(self, chunk: str) -> list[list[int]]:
        """The ids of a chunk; of its halves where a cut inside a word made it longer."""
        ids = self._ids(chunk)
        if len(ids) <= self.max_tokens or len(chunk) < 2:
            return [ids]
        middle = chunk.rfind(" ", 1, len(chunk) // 2) + 1 or len(chunk) // 2
        return [*self._fitting(chunk[:middle].rstrip()), *self._fitting(chunk[middle:])]

    def _ids(self, text: str) -> list[int]:
        if len(text) > LONG_CHARACTERS:
            return long_text_ids(self.tokenizer, self.prefix + text, special=True, names_are_text=False)
        with locked_tokenizer(self.tokenizer):
            ids: list[int] = self.tokenizer(self.prefix + text, truncation=False, verbose=False)["input_ids"]
        return ids

    def _starts(self, text: str) -> Sequence[int]:
        """The first character of each token of the text, ascending; white space at the start of a token is skipped."""
        starts = array("q")
        for run in token_runs(self.tokenizer, text, names_are_text=False):
            for start, end in zip(run.starts, run.ends, strict=True):
                while start < end and text[start].isspace():
                    start += 1
                starts.append(start)
        return starts


def split_text(text: str, starts: Sequence[int], *, size: int, overlap: int) -> Iterator[str]:
    """Chunks of at most `size` tokens that together are all of the text, except white space around them.

    Args:
        starts: where each token begins, ascending.
        overlap: about how many tokens neighbouring chunks share; adjusted so that a chunk begins with a whole word.
    Raises:
        ValueError: an overlap that leaves no step forward.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"an overlap of {overlap} leaves no step forward in chunks of {size}")
    bounds = array("q", starts)
    bounds.append(len(text))
    begin, token = 0, 0  # character and token of the chunk
    while len(starts) - token > size:
        end = _best_end(text, bounds, first=token + max(1, size // 2), last=token + size)
        if chunk := text[begin : bounds[end]].strip():
            yield chunk
        # The earliest border that keeps the overlap within its limit; the end itself is a border.
        earliest = max(token + 1, end - overlap)
        token = next((position for position in range(earliest, end) if _is_border(text, bounds[position])), end)
        begin = bounds[token]
    if chunk := text[begin:].strip():
        yield chunk


def _best_end(text: str, bounds: Sequence[int], *, first: int, last: int) -> int:
    """The last token before which a sentence ends, else a word, else the last token."""
    positions = range(last, first - 1, -1)
    borders = [position for position in positions if _is_border(text, bounds[position])]
    sentence = next((position for position in borders if ends_sentence(text, bounds[position])), None)
    if sentence is not None:
        return sentence
    return borders[0] if borders else last


def _is_border(text: str, position: int) -> bool:
    """Whether no word continues here; a script without spaces has borders only after sentences."""
    return position == 0 or text[position - 1].isspace() or ends_sentence(text, position)


def write_in_rounds(
    chunks: Sequence[Sequence[Sequence[int]]],
    *,
    write: Callable[[list[Sequence[int]]], list[Written]],
    split: Callable[[str], list[Sequence[int]]],
) -> list[Written]:
    """One text for each of several texts of any length: the texts of its chunks are joined and written about again.

    Args:
        chunks: ids of the chunks of each text; a single one where it fits.
        write: a text for each sequence of ids.
        split: ids of the chunks of a joined text.
    Returns:
        In order. Where joining gave nothing shorter, the joined texts themselves; a warning counts these. A text is
        finished if all texts that were written for it are.
    """
    results = [Written("", True)] * len(chunks)
    waiting = {index: list(text_chunks) for index, text_chunks in enumerate(chunks)}
    unshortened = 0
    while waiting:
        new_texts = iter(write([ids for text_chunks in waiting.values() for ids in text_chunks]))
        next_round: dict[int, list[Sequence[int]]] = {}
        for index, text_chunks in waiting.items():
            texts = [next(new_texts) for _ in text_chunks]
            finished = results[index].finished and all(text.finished for text in texts)
            results[index] = Written(texts[0].text if len(texts) == 1 else "", finished)
            if len(texts) == 1:
                continue
            joined = " ".join(text.text.strip() for text in texts if text.text.strip())
            joined_chunks = split(joined)
            if not joined:
                continue
            if sum(map(len, joined_chunks)) < sum(map(len, text_chunks)):
                next_round[index] = joined_chunks
            else:
                results[index] = Written(joined, finished)
                unshortened += 1
        waiting = next_round
    if unshortened:
        logger.warning(
            "%s of %s texts: the summaries of their chunks were not shorter than the chunks, and were joined unchanged",
            f"{unshortened:,}",
            f"{len(chunks):,}",
        )
    return results

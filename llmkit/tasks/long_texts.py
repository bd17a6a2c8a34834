"""Long texts to ids in pieces, in little memory: the ids are those of the whole text, exactly.

A tokenizer needs about two hundred times the size of a text. So a long text is read in pieces that overlap. Near the
ends of a piece its tokens may differ from those of the whole text, since a word was cut or its normalizer saw an end; so
two pieces are joined inside their overlap, where both have the same tokens at the same characters, some in a row. Where
there is no such place, as in a word that is longer than the overlap, the piece is made longer.

Of a text that will be cut, only the part that is kept is read, and the tokens of the rest are estimated.

Legend: offsets are characters of the text, the end exclusive.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.models.threads import locked_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LONG_CHARACTERS = 1 << 17
"""Texts up to this length are read whole, by the tokenizer alone."""
_PIECE, _OVERLAP = 1 << 16, 1 << 12
_EQUAL_TOKENS = 16
"""So many tokens in a row must be equal where two pieces are joined."""
_MARGIN = 1 << 9
"""Characters at the end of a piece at which it is never joined."""


@dataclass(frozen=True)
class TokenRun:
    """Consecutive tokens of a text, without special ones."""

    ids: Sequence[int] = field(default_factory=lambda: array("i"))
    starts: Sequence[int] = field(default_factory=lambda: array("q"))
    ends: Sequence[int] = field(default_factory=lambda: array("q"))
    begins_word: Sequence[int] = field(default_factory=lambda: array("b"))
    """1 for the first token of each word that the tokenizer splits the text into, else 0."""

    def __getitem__(self, part: slice) -> TokenRun:
        return TokenRun(self.ids[part], self.starts[part], self.ends[part], self.begins_word[part])

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Part:
    """The start or the end of a text, with all the tokens that will be kept and some more; of a short text, all of it."""

    text: str
    characters: int
    """Of the whole text."""

    def whole_tokens(self, tokens: int) -> int:
        """Tokens of the whole text, from those of the part: an estimate with two digits, unless the part is the whole."""
        if len(self.text) == self.characters:
            return tokens
        return int(float(f"{tokens * self.characters / len(self.text):.2g}"))


def part_of(
    tokenizer: PreTrainedTokenizerFast,
    text: str,
    *,
    tokens: int | None,
    end: bool = False,
    names_are_text: bool = False,
    shortest: int = LONG_CHARACTERS,
) -> Part:
    """The part of a text that is tokenized where only its first tokens are kept, or its last ones.

    It has more of them than are kept, and those that are kept are the same with more of the text beside them.

    Args:
        tokens: so many are kept; None for all.
        end: the last ones are kept.
        shortest: characters of the shortest part.
    """
    size = shortest
    while tokens is not None and len(text) > size + _OVERLAP:
        part, longer = (text[-length:] if end else text[:length] for length in (size, size + _OVERLAP))
        ids, same = (_run(tokenizer, one, 0, len(one), names_are_text).ids for one in (part, longer))
        kept = slice(-tokens, None) if end else slice(tokens)
        if len(ids) > tokens and ids[kept] == same[kept]:
            return Part(part, len(text))
        size *= 2
    return Part(text, len(text))


def token_runs(
    tokenizer: PreTrainedTokenizerFast, text: str, *, names_are_text: bool, piece: int = _PIECE
) -> Iterator[TokenRun]:
    """The tokens of a text, piece by piece; together exactly those of the whole text.

    Args:
        names_are_text: the name of a special token in the text does not become that token.
        piece: characters of a piece, more than those of an overlap.
    """
    start, size = 0, piece
    run = _run(tokenizer, text, start, start + size, names_are_text)
    first, first_start = 0, 0  # of the run's tokens, those before are in an earlier run
    while start + size < len(text):
        next_start = start + size - _OVERLAP
        next_run = _run(tokenizer, text, next_start, next_start + piece, names_are_text)
        join = _join(run, next_run, first=first, last_end=start + size - _MARGIN)
        if join is None:
            size *= 2
            run = _run(tokenizer, text, start, start + size, names_are_text)
            first = next((index for index, token in enumerate(run.starts) if token >= first_start), len(run))
            continue
        yield run[first : join[0]]
        run, first, start, size = next_run, join[1], next_start, piece
        first_start = run.starts[first]
    yield run[first:]


def long_text_run(tokenizer: PreTrainedTokenizerFast, text: str, *, names_are_text: bool) -> TokenRun:
    """All tokens of a text, in arrays."""
    ids, starts, ends, begins = array("i"), array("q"), array("q"), array("b")
    for run in token_runs(tokenizer, text, names_are_text=names_are_text):
        ids.extend(run.ids)
        starts.extend(run.starts)
        ends.extend(run.ends)
        begins.extend(run.begins_word)
    return TokenRun(ids, starts, ends, begins)


def long_text_ids(
    tokenizer: PreTrainedTokenizerFast, text: str, *, special: bool, names_are_text: bool, most: int | None = None
) -> list[int]:
    """All ids of a text, or the first `most`, special ones included: those at its end stand after the last one read."""
    before, after = _special_ids(tokenizer) if special else ([], [])
    room = None if most is None else most - len(before) - len(after)
    known: dict[int, int] = {}  # one object for each id: a list of equal numbers then takes a quarter of the memory
    ids: list[int] = []
    for run in token_runs(tokenizer, text, names_are_text=names_are_text):
        ids += [known.setdefault(token, token) for token in run.ids]
        if room is not None and len(ids) >= room:
            del ids[room:]
            break
    return [*before, *ids, *after]


def _run(tokenizer: PreTrainedTokenizerFast, text: str, start: int, end: int, names_are_text: bool) -> TokenRun:
    with locked_tokenizer(tokenizer):
        encoding: Any = tokenizer(
            text[start:end],
            add_special_tokens=False,
            split_special_tokens=names_are_text or tokenizer.split_special_tokens,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )
    offsets, words = encoding["offset_mapping"], encoding.word_ids(0)
    return TokenRun(
        encoding["input_ids"],
        [start + first for first, _ in offsets],
        [start + last for _, last in offsets],
        [int(index == 0 or words[index] != words[index - 1]) for index in range(len(words))],
    )


def _join(run: TokenRun, following: TokenRun, *, first: int, last_end: int) -> tuple[int, int] | None:
    """The first token of both runs that begins a word and from which several are equal, at equal characters.

    Never inside a word: how a tokenizer splits a long word may depend on where the word begins. None where there is no
    such token.
    """
    if not following:
        return None
    positions = {start: index for index, start in reversed(list(enumerate(following.starts)))}
    count = _EQUAL_TOKENS
    begin = next((index for index, end in enumerate(run.ends) if end > following.starts[0]), len(run))
    for index in range(max(first, begin) + 1, len(run) - count):
        if run.ends[index + count - 1] > last_end:
            return None
        other = positions.get(run.starts[index], 0)
        if (
            other  # there, and not cut by the start of the piece
            and run.begins_word[index]
            and run[index : index + count] == following[other : other + count]
        ):
            return index, other
    return None


def _special_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """Special ids that the tokenizer puts before and after a text."""
    with locked_tokenizer(tokenizer):
        encoding: Any = tokenizer("a", truncation=False, padding=False)
    ids: list[int] = encoding["input_ids"]
    texts = [position for position, side in enumerate(encoding.sequence_ids(0)) if side is not None]
    return ids[: texts[0]], ids[texts[-1] + 1 :]

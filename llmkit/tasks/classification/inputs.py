"""A text, or a pair of texts, as the ids that a classifier reads: whole, truncated, or in overlapping windows.

For training and inference. The tokenizer decides the special tokens; GPT-2's adds none, not even between two texts, so
its end-of-text token separates them, as it does the documents of its pretraining.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.data.windows import default_overlap, window_starts
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.threads import locked_tokenizer
from llmkit.tasks.long_texts import part_of
from llmkit.tasks.token_ids import token_ids
from llmkit.tasks.unknown import UnknownCount

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from llmkit.models.loaded import LoadedModel

Pair = tuple[str, str]


@dataclass(frozen=True)
class Contents:
    """Ids of one row without special tokens."""

    first: list[int]
    second: list[int] | None
    unknown_tokens: int = 0
    unread_tokens: int = 0
    """Estimated number of tokens of a very long text that were not read, since it is cut before them."""


@dataclass(frozen=True)
class _Frame:
    """The special tokens of a row."""

    before: list[int]
    between: list[int]
    after: list[int]

    def __len__(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class TextInputs:
    """Texts, or pairs of them, for one model."""

    def __init__(self, loaded: LoadedModel, *, pairs: bool, overlap: int | None = None) -> None:
        """
        Args:
            overlap: tokens that neighbouring windows share; None for a quarter of the model's window.
        Raises:
            UsageError: the window has no room for text, or the overlap fills it.
            ModelError: a BERT with a single segment cannot read pairs.
        """
        if pairs:
            loaded.family.check_pairs(loaded.model.config, name=loaded.name)
        self.pairs = pairs
        self.window = loaded.window
        self._tokenizer = loaded.tokenizer
        self._frame = _frame_of(loaded, pairs=pairs)
        self._room = self.window - len(self._frame)
        least = self._room - self._most_of_second  # for the first text, in a window
        if least < 1:
            raise UsageError(
                f"max_tokens {self.window:,} leaves no room beside {len(self._frame)} special tokens. Raise it."
            )
        self._overlap = min(default_overlap(self.window), least - 1) if overlap is None else overlap
        if self._overlap >= least:
            raise UsageError(
                f"window_overlap {self._overlap:,} leaves no step forward: a window has room for {least:,} tokens of "
                f"text. Use {least - 1:,} or less."
            )

    def read(
        self,
        texts: Sequence[str],
        seconds: Sequence[str] | None = None,
        *,
        unknown: UnknownCount | None = None,
        cut: bool = False,
    ) -> list[Contents]:
        """All ids of each row. Names of special tokens are read as text: `[SEP]` would end the first.

        Args:
            seconds: the other text of each row, for pairs.
            unknown: counts the texts; None to count nothing.
            cut: rows that do not fit will be cut, so that the rest of a very long text need not be read.
        """
        rows = self._read(texts, unknown=unknown, cut=cut)
        if not self.pairs:
            return [Contents(ids, None, count, unread) for ids, count, unread in rows]
        assert seconds is not None, "pairs have two texts"
        pairs = zip(rows, self._read(seconds, unknown=unknown, cut=cut), strict=True)
        return [
            Contents(first, second, count + second_count, unread + second_unread)
            for (first, count, unread), (second, second_count, second_unread) in pairs
        ]

    def _read(
        self, texts: Sequence[str], *, unknown: UnknownCount | None, cut: bool
    ) -> Iterator[tuple[list[int], int, int]]:
        """Of each text its ids, the unknown tokens among them, and the tokens that were not read."""
        kept = self.window if cut else None
        parts = [part_of(self._tokenizer, text, tokens=kept, names_are_text=True) for text in texts]
        read = [part.text for part in parts]
        ids = token_ids(self._tokenizer, read, special=False, names_are_text=True)
        counts = unknown.add(read, ids) if unknown else [0] * len(read)
        unread = (part.whole_tokens(len(own)) - len(own) for part, own in zip(parts, ids, strict=True))
        return zip(ids, counts, unread, strict=True)

    def tokens(self, row: Contents) -> int:
        """Tokens of the whole row, special tokens included."""
        return len(self._frame) + len(row.first) + len(row.second or ()) + row.unread_tokens

    def whole(self, row: Contents) -> list[int]:
        return self._framed(row.first, row.second)

    def cut(self, row: Contents) -> list[int]:
        """At most a window: of a pair, the longer text loses its end first."""
        if row.second is None:
            return self._framed(row.first[: self._room], None)
        first, second = _longest_first(len(row.first), len(row.second), room=self._room)
        return self._framed(row.first[:first], row.second[:second])

    def windows(self, row: Contents, *, place: str) -> list[list[int]]:
        """Overlapping windows over the first text; the second is whole in each.

        Raises:
            DataError: the second text takes more than half of a window.
        """
        second = len(row.second or ())
        if second > self._most_of_second:
            raise DataError(
                f"{place}: text_pair has {second:,} tokens. Under overflow window it is whole in every window, and "
                f"may fill half of it, {self._most_of_second:,}. Swap the two columns, or set overflow to truncate."
            )
        size = self._room - second
        starts = window_starts(len(row.first), size=size, overlap=self._overlap)
        return [self._framed(row.first[start : start + size], row.second) for start in starts]

    @property
    def _most_of_second(self) -> int:
        return self._room // 2 if self.pairs else 0

    def _framed(self, first: list[int], second: list[int] | None) -> list[int]:
        frame = self._frame
        if second is None:
            return [*frame.before, *first, *frame.after]
        return [*frame.before, *first, *frame.between, *second, *frame.after]


def _frame_of(loaded: LoadedModel, *, pairs: bool) -> _Frame:
    tokenizer: PreTrainedTokenizerFast = loaded.tokenizer
    with locked_tokenizer(tokenizer):
        encoding = tokenizer("a", "b") if pairs else tokenizer("a")
    ids: list[int] = encoding["input_ids"]
    sides = encoding.sequence_ids(0)  # 0 and 1 at the two texts, None at a special token
    texts = [position for position, side in enumerate(sides) if side is not None]
    if not texts:
        raise ModelError(
            f"{loaded.name}: its tokenizer gives no tokens for the text 'a'; use the model's own tokenizer."
        )
    between = [ids[position] for position in range(texts[0], texts[-1]) if sides[position] is None]
    if pairs and not between:
        between = [int(tokenizer.eos_token_id)]
    return _Frame(before=ids[: texts[0]], between=between, after=ids[texts[-1] + 1 :])


def _longest_first(first: int, second: int, *, room: int) -> tuple[int, int]:
    """Tokens left of each text: as if the longer one lost its last token until both fit."""
    shorter = min(first, second, room // 2)
    longer = min(max(first, second), room - shorter)
    return (longer, shorter) if first > second else (shorter, longer)

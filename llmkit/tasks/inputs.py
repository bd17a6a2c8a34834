"""Input texts of a model: checked, encoded, and counted where they are longer than its window.

Rows are counted from 1. What every verb does before it calls an engine; knows no engines.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from llmkit.data.lengths import TruncationCount
from llmkit.errors import DataError
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.encoding import Item, in_chunks
from llmkit.tasks.long_texts import part_of
from llmkit.tasks.token_ids import cut_ids, cuts_start, token_ids
from llmkit.tasks.unknown import UnknownCount

logger = logging.getLogger("llmkit")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
Overflow = Literal["error", "truncate"]


@dataclass(frozen=True)
class Encoded:
    ids: list[int]
    truncated_tokens: int
    """Tokens that the model will not see; estimated for a text that was not read to its end."""
    text: str
    """What was tokenized: of a very long text, a part."""
    all_ids: list[int]
    """Its tokens, with those that the model will not see."""


def numbered_chunks(texts: Iterable[Item], *, size: int) -> Iterator[tuple[int, list[Item]]]:
    """Chunks with the number of their first row."""
    first_row = 1
    for chunk in in_chunks(texts, size=size):
        yield first_row, chunk
        first_row += len(chunk)


def check_texts(texts: Sequence[str], *, first_row: int, may_be_empty: bool, what: str = "text") -> None:
    """Refuse texts that a tokenizer cannot take, and empty ones.

    Args:
        what: the noun for a text in the message.
    Raises:
        DataError: with the number of the row.
    """
    for row, text in enumerate(texts, start=first_row):
        if not may_be_empty and not text.strip():
            raise DataError(f"row {row:,}: the {what} is empty; remove the row or fill it")
        if surrogate := LONE_SURROGATE.search(text):
            code_point = f"U+{ord(surrogate[0]):04X} at character {surrogate.start() + 1:,}"
            raise DataError(
                f"row {row:,}: the {what} is not valid Unicode: half a surrogate pair, {code_point}; write it as UTF-8"
            )


def encode_whole(
    loaded: LoadedModel,
    texts: Sequence[str],
    *,
    first_row: int,
    overflow: Overflow,
    window: int | None = None,
) -> list[Encoded]:
    """Ids with special tokens, at most `window` of them; without it, `loaded.window`."""
    window = loaded.window if window is None else window
    encoded = []
    parts = [part_of(loaded.tokenizer, text, tokens=window, end=cuts_start(loaded.tokenizer)) for text in texts]
    all_ids = token_ids(loaded.tokenizer, [part.text for part in parts], special=True)
    for row, (part, ids) in enumerate(zip(parts, all_ids, strict=True), start=first_row):
        if len(ids) <= window:
            encoded.append(Encoded(ids, 0, part.text, ids))
        elif overflow == "truncate":
            truncated = cut_ids(loaded.tokenizer, part.text, max_tokens=window)
            encoded.append(Encoded(truncated, part.whole_tokens(len(ids)) - len(truncated), part.text, ids))
        else:
            raise DataError(
                f"row {row:,}: the text has {part.whole_tokens(len(ids)):,} tokens, and {loaded.name} takes {window:,} at most; "
                "shorten it, or allow it to be cut with overflow truncate"
            )
    return encoded


class LongTextCount:
    """Counts texts that are too long for the model, for one message at the end; `unknown` counts what its tokenizer cannot
    represent, and is reported by itself."""

    def __init__(self, loaded: LoadedModel, *, window: int | None = None) -> None:
        self._name = loaded.name
        self._window = loaded.window if window is None else window
        self._truncated = TruncationCount()
        self._windowed_texts = self._windows = 0
        self.unknown = UnknownCount(loaded.tokenizer)

    def add(self, truncated_tokens: Sequence[int], windows: Sequence[int] = ()) -> None:
        """
        Args:
            truncated_tokens: of each text.
            windows: how many each text was read in, where texts may be read in several.
        """
        for tokens in truncated_tokens:
            self._truncated.add(tokens)
        self._windowed_texts += sum(count > 1 for count in windows)
        self._windows += sum(count for count in windows if count > 1)

    def report(self) -> None:
        if self._windowed_texts:
            logger.info(
                "%s of %s texts were too long for %s (window %s tokens) and were read in %s windows",
                *(f"{number:,}" for number in (self._windowed_texts, self._truncated.texts)),
                self._name,
                *(f"{number:,}" for number in (self._window, self._windows)),
            )
        if self._truncated.long_texts:
            logger.warning(
                "%s texts were too long for %s (window %s tokens) and were cut: %s tokens were not read",
                *(self._truncated.share, self._name, f"{self._window:,}", f"{self._truncated.lost_tokens:,}"),
            )

"""The policy for texts that are too long, and counts of the texts that it affects.

`error` raises an error, `truncate` removes the end of the text, `drop` removes the row, `window` splits the text into
overlapping windows whose results are combined.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from llmkit.errors import DataError

Overflow = Literal["error", "truncate", "drop", "window"]
logger = logging.getLogger("llmkit")
_reported: ContextVar[list[LengthCount] | None] = ContextVar("reported", default=None)


@contextmanager
def reported_lengths() -> Iterator[list[LengthCount]]:
    """Inside, the counts that are reported are also added to the list, those that raise an error included."""
    counts: list[LengthCount] = []
    token = _reported.set(counts)
    try:
        yield counts
    finally:
        _reported.reset(token)


@dataclass
class TruncationCount:
    """Number of texts that are longer than a limit, and of their tokens after it."""

    texts: int = 0
    long_texts: int = 0
    lost_tokens: int = 0

    def add(self, lost_tokens: int) -> None:
        """Count a text with this number of tokens after the limit; 0 if it fits."""
        self.texts += 1
        self.long_texts += lost_tokens > 0
        self.lost_tokens += lost_tokens

    @property
    def share(self) -> str:
        """`3 of 40`, for messages."""
        return f"{self.long_texts:,} of {self.texts:,}"


@dataclass
class LengthCount:
    """Lengths of one column's texts before truncation: `TruncationCount` counts the long ones, and all lengths are
    stored for their distribution."""

    what: str
    """For messages: `text`, `summary`."""
    max_tokens: int
    overflow: Overflow
    lengths: list[int] = field(default_factory=list)
    truncated: TruncationCount = field(default_factory=TruncationCount)
    first_place: str = ""

    def fits(self, length: int, *, place: str) -> bool:
        """Count a length; False if the policy applies to the text."""
        self.lengths.append(length)
        self.truncated.add(max(0, length - self.max_tokens))
        if length > self.max_tokens and not self.first_place:
            self.first_place = place
        return length <= self.max_tokens

    def report(self, *, key: str, targets: bool, done: str | None = None) -> None:
        """Log the lengths and the effect of the policy.

        Args:
            key: the recipe's key for the limit, for the message.
            targets: whether the lost tokens were targets of the loss.
            done: what was done to rows that are too long, if not what the policy's name says.
        Raises:
            DataError: a text is too long and the policy is `error`.
        """
        if not self.lengths:
            return
        counts = _reported.get()
        if counts is not None:
            counts.append(self)
        import numpy as np

        median, high, longest = np.percentile(self.lengths, [50, 95, 100]).astype(int)
        spread = f"{self.what}: tokens median {median:,}, 95th percentile {high:,}, longest {longest:,}"
        if not self.truncated.long_texts:
            logger.info("%s; none over %s", spread, f"{self.max_tokens:,}")
            return
        share = f"{self.truncated.share} rows ({self.truncated.long_texts / self.truncated.texts:.1%})"
        if self.overflow == "error":
            raise DataError(
                f"{self.first_place}: {share} are longer than {key} {self.max_tokens:,}. {spread}. "
                f"Raise {key}, or set overflow to truncate or drop."
            )
        if self.overflow == "window":
            done = done or "split into overlapping windows"
            logger.info("%s; %s over %s %s", spread, share, f"{self.max_tokens:,}", done)
            return
        lost = f"{self.truncated.lost_tokens:,} tokens lost"
        done = done or ("dropped" if self.overflow == "drop" else f"truncated, {lost}")
        kind = " (targets of the loss)" if targets else ""
        logger.warning("%s; %s over %s %s%s", spread, share, f"{self.max_tokens:,}", done, kind)

"""One policy for text that is too long, and the count of what it did.

`error` refuses it, `truncate` cuts its end off, `drop` leaves the row out, `window` cuts it into overlapping windows
whose results are put together again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

from llmkit.errors import DataError

Overflow = Literal["error", "truncate", "drop", "window"]
logger = logging.getLogger("llmkit")


@dataclass
class TruncationCount:
    """How many texts are longer than a limit, and their tokens behind it."""

    texts: int = 0
    long_texts: int = 0
    lost_tokens: int = 0

    def add(self, lost_tokens: int) -> None:
        """Count a text, of which so many tokens are behind the limit; 0 where it fits."""
        self.texts += 1
        self.long_texts += lost_tokens > 0
        self.lost_tokens += lost_tokens

    @property
    def share(self) -> str:
        """`3 of 40`, for messages."""
        return f"{self.long_texts:,} of {self.texts:,}"


@dataclass
class LengthCount:
    """Lengths of one kind of text in the rows of a data set, as they were before any cut: `TruncationCount` counts the
    long ones, and all lengths are kept for their distribution."""

    what: str
    """For messages: `text`, `summary`."""
    max_tokens: int
    overflow: Overflow
    lengths: list[int] = field(default_factory=list)
    truncated: TruncationCount = field(default_factory=TruncationCount)
    first_place: str = ""

    def fits(self, length: int, *, place: str) -> bool:
        """Count a length; False where the policy must act on it."""
        self.lengths.append(length)
        self.truncated.add(max(0, length - self.max_tokens))
        if length > self.max_tokens and not self.first_place:
            self.first_place = place
        return length <= self.max_tokens

    def report(self, *, key: str, targets: bool, done: str | None = None) -> None:
        """Log the lengths and what was done about them.

        Args:
            key: the recipe's key for the limit, for the message.
            targets: True where the tokens lost were targets of the loss.
            done: what was done to rows that are too long, where that is not what the policy's name says.
        Raises:
            DataError: something is too long and the policy is `error`.
        """
        if not self.lengths:
            return
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
            done = done or "cut into overlapping windows"
            logger.info("%s; %s over %s %s", spread, share, f"{self.max_tokens:,}", done)
            return
        lost = f"{self.truncated.lost_tokens:,} tokens lost"
        done = done or ("dropped" if self.overflow == "drop" else f"truncated, {lost}")
        kind = " (targets of the loss)" if targets else ""
        logger.warning("%s; %s over %s %s%s", spread, share, f"{self.max_tokens:,}", done, kind)

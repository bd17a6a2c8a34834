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
_log = logging.getLogger("llmkit")


@dataclass
class LengthCount:
    """Lengths of one kind of text, as they were before any cut."""

    what: str
    """For messages: `text`, `summary`."""
    max_tokens: int
    overflow: Overflow
    lengths: list[int] = field(default_factory=list)
    first_place: str = ""

    def fits(self, length: int, *, place: str) -> bool:
        """Count a length; False where the policy must act on it."""
        self.lengths.append(length)
        if length > self.max_tokens and not self.first_place:
            self.first_place = place
        return length <= self.max_tokens

    @property
    def over(self) -> int:
        return sum(length > self.max_tokens for length in self.lengths)

    @property
    def lost_tokens(self) -> int:
        """Tokens behind the limit."""
        return sum(max(0, length - self.max_tokens) for length in self.lengths)

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
        if not self.over:
            _log.info("%s; none over %s", spread, f"{self.max_tokens:,}")
            return
        share = f"{self.over:,} of {len(self.lengths):,} rows ({self.over / len(self.lengths):.1%})"
        if self.overflow == "error":
            raise DataError(
                f"{self.first_place}: {share} are longer than {key} {self.max_tokens:,}. {spread}. "
                f"Raise {key}, or set overflow to truncate or drop."
            )
        if self.overflow == "window":
            done = done or "cut into overlapping windows"
            _log.info("%s; %s over %s %s", spread, share, f"{self.max_tokens:,}", done)
            return
        done = done or ("dropped" if self.overflow == "drop" else f"truncated, {self.lost_tokens:,} tokens lost")
        kind = " (targets of the loss)" if targets else ""
        _log.warning("%s; %s over %s %s%s", spread, share, f"{self.max_tokens:,}", done, kind)

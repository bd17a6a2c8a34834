"""Which split a text belongs to: a pure function of the text, so it needs no seed, no order and no file."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "validation", "test"]

_HASHES = 2**64


def split_of(text: str, *, validation: float, test: float) -> Split:
    """The split of a text, by the first 8 bytes of the SHA-256 of its UTF-8, read as a share of 2**64.

    Equal texts are never in two splits; a new row moves no other; a larger share keeps its rows. The hash range is
    [test | validation | train], so the validation share may change without affecting the test rows. This assignment
    must never change: the scores of old runs depend on it.

    Args:
        validation: share in [0, 1).
        test: share in [0, 1); the two sum to less than 1.
    Raises:
        ValueError: a share, or their sum, is outside [0, 1).
    """
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise ValueError(f"shares must be in [0, 1) and sum to less than 1, found validation={validation}, test={test}")
    position = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / _HASHES
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"

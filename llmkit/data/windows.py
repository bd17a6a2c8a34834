"""Overlapping windows of long sequences: their starts and their overlap. Knows no models."""

from __future__ import annotations


def default_overlap(window_tokens: int) -> int:
    """The default number of tokens that neighbouring windows share: a quarter of the window."""
    return window_tokens // 4


def window_starts(length: int, *, size: int, overlap: int) -> list[int]:
    """Starts of windows of `size` items that together cover `length` items.

    Neighbours share `overlap` items. The last window is moved back to be full, so it may share more.

    Raises:
        ValueError: `overlap` is not smaller than `size`.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"the overlap must be from 0 to below the window size {size}, found {overlap}")
    if length <= size:
        return [0]
    starts = list(range(0, length - size, size - overlap))
    return [*starts, length - size]

"""Long sequences in overlapping windows: where each begins, and how much neighbours share. Knows no models."""

from __future__ import annotations


def default_overlap(window_tokens: int) -> int:
    """Tokens that neighbouring windows share where a recipe does not say: a quarter of the window."""
    return window_tokens // 4


def window_starts(length: int, *, size: int, overlap: int) -> list[int]:
    """Starts of windows that together cover `length` items; all but the last hold `size` of them.

    Neighbours share `overlap` items or, in front of the last window, more: it is moved back so that it is full too.

    Raises:
        ValueError: an overlap that leaves no step forward.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"an overlap of {overlap} leaves no step forward in windows of {size}")
    if length <= size:
        return [0]
    starts = list(range(0, length - size, size - overlap))
    return [*starts, length - size]

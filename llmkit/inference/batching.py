"""Batching of sequences for one pass through a model. Pure functions of lengths; knows no tokens."""

from __future__ import annotations

from collections.abc import Sequence


def batches_by_length(lengths: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Split all indices into batches of similar length, so that padding is small and memory bounded.

    Args:
        lengths: tokens of each sequence.
        max_tokens: the most that batch size x longest sequence may be, padding included.
    Returns:
        Indices into `lengths`, each once, longest first (ties by index): memory peaks in the first batch,
        not after an hour. A sequence longer than `max_tokens` is a batch of its own.
    Raises:
        ValueError: `max_tokens` is below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, found {max_tokens}")
    batches: list[list[int]] = []
    longest = 0  # of the last batch
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batches and (len(batches[-1]) + 1) * longest <= max_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = lengths[index]
    return batches

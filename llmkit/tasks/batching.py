"""Batching of sequences for one pass through a model. Pure functions of lengths; knows no tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmkit.data.order import cut_by_tokens


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
    batches = cut_by_tokens(range(len(lengths)), np.asarray(lengths, dtype=np.int64), max_tokens=max_tokens)
    return [batch.tolist() for batch in batches]

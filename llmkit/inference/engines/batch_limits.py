"""The most tokens in one pass: prompt or text and new ones, times beams, padding included."""

from __future__ import annotations

from typing import NamedTuple

import torch


class BatchLimits(NamedTuple):
    """Tokens of a pass, by its work."""

    read: int
    """Texts in, logits or states out."""
    generate: int
    search: int
    """Of our beam search, whose beams share the encoded source."""


_CPU = BatchLimits(read=768, generate=4096, search=16384)
"""Measured with a 6-layer, 384-wide BERT: 256 to 768 take the least processor time, 4096 40 % more (caches); with GPT-2 small
each step reads all weights, so rows are nearly free up to 4096, and 768 take 20 % more."""
_GPU = BatchLimits(read=32768, generate=32768, search=32768)  # not measured yet


def batch_limits(device: torch.device, given: int | None) -> BatchLimits:
    """`given` for all work, or the defaults of the device."""
    if given is not None:
        return BatchLimits(given, given, given)
    return _CPU if device.type == "cpu" else _GPU

"""Scores of a language model from totals over a whole data set. Knows neither tensors nor batches.

Totals are summed over batches and ranks first; a mean of means would give short batches too much weight.
NaN in is NaN out: a diverged loss must stay visible.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence

LARGEST_EXPONENT = math.log(sys.float_info.max)


def perplexity(total_nats: float, targets: int) -> float:
    """exp(total_nats / targets); inf where that is beyond a float, from about 709.8 nats per target.

    Raises:
        ValueError: `targets` is below 1.
    """
    mean_nats = _per("target", total_nats, targets)
    # math.exp raises OverflowError above this, where the true value is only beyond the range of a float.
    return math.exp(mean_nats) if not mean_nats > LARGEST_EXPONENT else math.inf


def bits_per_byte(total_nats: float, utf8_bytes: int) -> float:
    """Bits per byte of the text: comparable between models with different tokenizers.

    Args:
        total_nats: loss summed over all targets.
        utf8_bytes: length in UTF-8 of the text of those targets.
    Raises:
        ValueError: `utf8_bytes` is below 1.
    """
    return _per("byte", total_nats, utf8_bytes) / math.log(2)


def language_model_scores(total_nats: float, targets: int, utf8_bytes: int) -> dict[str, float]:
    """`loss` in nats per target, `perplexity` and `bits_per_byte` from the same total.

    Raises:
        ValueError: `targets` or `utf8_bytes` is below 1.
    """
    return loss_scores(("loss", "perplexity", "bits_per_byte"), total_nats, targets, utf8_bytes)


def loss_scores(names: Sequence[str], total_nats: float, targets: int, utf8_bytes: int) -> dict[str, float]:
    """The named scores of `loss`, `perplexity` and `bits_per_byte`, in this order."""
    scores: Mapping[str, Callable[[], float]] = {
        "loss": lambda: _per("target", total_nats, targets),
        "perplexity": lambda: perplexity(total_nats, targets),
        "bits_per_byte": lambda: bits_per_byte(total_nats, utf8_bytes),
    }
    return {name: scores[name]() for name in names}


def _per(unit: str, total_nats: float, count: int) -> float:
    if count < 1:
        raise ValueError(f"nats per {unit} need at least one {unit}, got {count}")
    return total_nats / count

"""Scores of a language model from totals over a whole data set. Knows neither tensors nor batches.

Totals are summed over batches and ranks first; a mean of means would give short batches too much weight.
NaN in is NaN out: a diverged loss must stay visible.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from llmkit.tasks.base import RowStatistics

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from llmkit.evaluation.uncertainty.statistics import FloatArray

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


def loss_statistics(
    names: Sequence[str], nats: ArrayLike, targets: ArrayLike, utf8_bytes: ArrayLike | None = None
) -> RowStatistics:
    """What each row contributes to the named scores of `loss`, `perplexity` and `bits_per_byte`.

    Args:
        nats: (N,) the loss of each row, summed over its targets.
        targets: (N,) their number; 0 for a row that has none.
        utf8_bytes: (N,) the length in UTF-8 of their text; None without `bits_per_byte`.
    """
    import numpy as np

    from llmkit.evaluation.uncertainty.statistics import of_sums, ratio

    columns = [nats, targets, np.zeros_like(targets) if utf8_bytes is None else utf8_bytes]
    table = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)  # (N, 3)

    def scores(sums: FloatArray) -> dict[str, FloatArray]:
        total_nats, total_targets, total_bytes = sums.T
        loss = ratio(total_nats, total_targets, otherwise=np.nan)
        with np.errstate(over="ignore"):  # inf, as in `perplexity`
            known = {"loss": loss, "perplexity": np.exp(loss)}
        if utf8_bytes is not None:
            known["bits_per_byte"] = ratio(total_nats, total_bytes, otherwise=np.nan) / math.log(2)
        return {name: known[name] for name in names if name in known}

    return of_sums(table, scores)


def _per(unit: str, total_nats: float, count: int) -> float:
    if count < 1:
        raise ValueError(f"nats per {unit} need at least one {unit}, got {count}")
    return total_nats / count

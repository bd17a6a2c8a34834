"""The examples of each step, as pure functions of (seed, step).

Workers, devices or a resume cannot change them: the position in the data is a single integer, the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Indices: TypeAlias = "NDArray[np.int64]"


def steps_per_epoch(count: int, *, batch_size: int) -> int:
    """Number of steps; the last batch of an epoch may be short, no example is dropped or repeated."""
    return -(-count // batch_size)


def batch_of_step(step: int, *, count: int, batch_size: int, seed: int) -> Indices:
    """Examples of the global batch of a step, counted from 0: a slice of the epoch's permutation."""
    epoch, position = divmod(step, steps_per_epoch(count, batch_size=batch_size))
    return _order_of_epoch(count, seed, epoch)[position * batch_size : (position + 1) * batch_size]


@lru_cache(maxsize=2)
def _order_of_epoch(count: int, seed: int, epoch: int) -> Indices:
    """Cached, since every step of an epoch needs it."""
    import numpy as np

    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)


def share_of_rank(batch: Indices, lengths: NDArray[np.int64], *, rank: int, world_size: int) -> Indices:
    """A rank's share of a global batch, assigned by length, so that all ranks have about the same work."""
    import numpy as np

    by_length = batch[np.argsort(-lengths[batch], kind="stable")]
    return by_length[rank::world_size]


def cut_by_tokens(indices: Indices | Sequence[int], lengths: NDArray[np.int64], *, max_tokens: int) -> list[Indices]:
    """Micro-batches of examples of similar length, longest first, so that memory peaks in the first one.

    A micro-batch of B examples, the longest of T tokens, has B x T <= `max_tokens`; a longer example is one by itself.

    Raises:
        ValueError: `max_tokens` is below 1.
    """
    import numpy as np

    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, found {max_tokens}")
    examples = np.asarray(indices, dtype=np.int64)
    by_length = examples[np.argsort(-lengths[examples], kind="stable")]
    batches: list[Indices] = []
    start = 0
    while start < len(by_length):
        size = max(1, max_tokens // max(1, int(lengths[by_length[start]])))
        batches.append(by_length[start : start + size])
        start += size
    return batches

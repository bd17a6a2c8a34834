"""What counts in the loss of a batch.

Legend: N targets, B batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmkit.models.losses import IGNORED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmkit.tasks.base import Batch


def count_targets(batch: Batch) -> int:
    """Positions of a batch that count in the loss."""
    return int((batch["labels"] != IGNORED).sum())


def targets_of_rows(batch: Batch) -> NDArray[np.int64]:
    """(B,) positions of each example of a batch that count in the loss."""
    labels = batch["labels"]
    counts: NDArray[np.int64] = (labels != IGNORED).reshape(len(labels), -1).sum(dim=1).numpy()
    return counts


def target_ids(batch: Batch) -> NDArray[np.int64]:
    """(N,) targets of the outputs that count in the loss."""
    labels = batch["labels"]
    ids: NDArray[np.int64] = labels[labels != IGNORED].numpy()
    return ids

"""What a forward pass needs around it: padded batches, and a model in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor


def padded(
    sequences: Sequence[Sequence[int]],
    *,
    pad_id: int,
    side: Literal["left", "right"],
    always_mask: bool,
    device: torch.device,
) -> dict[str, Tensor]:
    """`input_ids` (B, T), and `attention_mask` (B, T) where there is padding: without it attention is faster.

    Args:
        always_mask: return the mask where there is no padding, too.
    """
    longest = max(len(sequence) for sequence in sequences)
    tokens = np.full((len(sequences), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(sequences), longest), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        columns = slice(0, len(sequence)) if side == "right" else slice(longest - len(sequence), longest)
        tokens[row, columns] = sequence
        mask[row, columns] = 1
    batch = {"input_ids": torch.from_numpy(tokens).to(device)}
    if always_mask or not mask.all():
        batch["attention_mask"] = torch.from_numpy(mask).to(device)
    return batch


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode inside, the previous mode afterwards; nothing changes if no module is in training mode."""
    if not any(module.training for module in model.modules()):
        yield
        return
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

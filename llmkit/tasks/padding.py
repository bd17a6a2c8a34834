"""Sequences of different lengths to rectangular tensors. Knows no model and no task.

Legend: B batch, T tokens of the longest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from llmkit.data.examples import Column
from llmkit.data.order import Indices


def padded(column: Column, indices: Indices, *, value: int) -> Tensor:
    """(B, T) int64, padded on the right with `value`."""
    rows = [column[index] for index in indices]
    rectangle = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for target, row in zip(rectangle, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(rectangle)


def attention_mask(column: Column, indices: Indices) -> Tensor:
    """(B, T) int64, 1 at a token and 0 at padding; by length, since padding may share an id with a real token."""
    lengths = column.lengths[indices]
    return torch.from_numpy((np.arange(lengths.max()) < lengths[:, None]).astype(np.int64))

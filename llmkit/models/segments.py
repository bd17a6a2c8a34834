"""Segment ids (token types) of text pairs, as in BERT's pretraining.

Legend: B batch, T tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def token_types(input_ids: Tensor, separator_id: int) -> Tensor:
    """(B, T) 0 up to the first separator, 1 after it: `[CLS] a [SEP] b [SEP]` is 0 0 0 1 1."""
    separators = (input_ids == separator_id).long()
    return ((separators.cumsum(dim=1) - separators) > 0).long()

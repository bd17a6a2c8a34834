"""From the states of a text's tokens to one vector, and how vectors are compared.

Legend: B batch, T tokens, D hidden units, M modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Pooling = Literal["mean", "first", "max", "mean_sqrt_len", "weightedmean", "lasttoken"]
"""How the states of a text's tokens become one vector: their mean, the state of the first or of the last token, the
maximum of each number, the sum divided by the root of their count, or the mean weighted by their positions."""

Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
"""How near two vectors are: their cosine or dot product, or their distance."""


def pooled(states: Tensor, lengths: Tensor, *, modes: Sequence[Pooling], skipped_tokens: int = 0) -> Tensor:
    """(B, M x D): the vectors of all modes, one after the other.

    Args:
        states: (B, T, D), padded on the right.
        lengths: (B,) tokens of each text.
        skipped_tokens: at the start of each text, not used: its prompt. Each text has more tokens than that.
    """
    import torch

    positions = torch.arange(states.shape[1], device=states.device)
    own = (positions >= skipped_tokens) & (positions < lengths[:, None])  # (B, T)
    rows = torch.arange(len(states), device=states.device)
    vectors = []
    for mode in modes:
        if mode == "first":
            vectors.append(states[:, skipped_tokens])
        elif mode == "lasttoken":
            vectors.append(states[rows, lengths - 1])
        elif mode == "max":
            vectors.append(states.masked_fill(~own[:, :, None], float("-inf")).amax(dim=1))
        else:
            # As in sentence-transformers, tokens after a prompt keep their positions.
            weights = own * (positions + 1) if mode == "weightedmean" else own  # (B, T)
            total = weights.sum(dim=1, keepdim=True)  # (B, 1)
            vectors.append(
                (states * weights[:, :, None]).sum(dim=1) / (total.sqrt() if mode == "mean_sqrt_len" else total)
            )
    return torch.cat(vectors, dim=1)

"""Logits of whole texts, also for models with logits for each token. Legend: B batch, T tokens, C classes."""

from __future__ import annotations

import torch
from torch import Tensor


def text_logits(logits: Tensor, lengths: Tensor) -> Tensor:
    """(B, C) float32 from what a classifier gives: as it stands, or the mean over a text's tokens, as with T5.

    T5 has no token that stands for a text, and transformers' classifier for it runs a decoder besides; the mean over
    the encoder's states does as well (Ni et al. 2021, "Sentence-T5"), at half the cost. A linear head's mean is the
    head of the mean state.

    Args:
        logits: (B, C) or (B, T, C), padded on the right.
        lengths: (B,) tokens of each text without padding.
    """
    if logits.dim() == 2:
        return logits.float()
    real = torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]  # (B, T)
    return (logits.float() * real[:, :, None]).sum(dim=1) / lengths[:, None]

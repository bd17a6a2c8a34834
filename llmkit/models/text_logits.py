"""Logits of whole texts, also for models with logits for each token. Legend: B batch, T tokens, C classes."""

from __future__ import annotations

import torch
from torch import Tensor


def text_logits(logits: Tensor, lengths: Tensor) -> Tensor:
    """(B, C) float32 from a classifier's logits: unchanged, or the mean over a text's tokens (T5).

    T5 has no token that represents a text, and transformers' classifier for it also runs a decoder; the mean over
    the encoder's states is as good (Ni et al. 2021, "Sentence-T5"), at half the cost. The mean of a linear
    head's outputs is its output for the mean state.

    Args:
        logits: (B, C) or (B, T, C), padded on the right.
        lengths: (B,) tokens of each text without padding.
    """
    if logits.dim() == 2:
        return logits.float()
    real = torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]  # (B, T)
    return (logits.float() * real[:, :, None]).sum(dim=1) / lengths[:, None]

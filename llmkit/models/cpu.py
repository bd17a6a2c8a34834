"""Faster training on a CPU: dropout from random bytes, fused attention without dropout, reuse of memory.

`bernoulli_` generates a double for every element and took 29 % of a training step of a small BERT; one byte for each,
generated eight at a time, costs a tenth. The rate is rounded to 1/256, the scale is exact for the rounded rate. Nothing
here changes a model's weights, config or names; on a GPU torch's own is right.
"""

from __future__ import annotations

import ctypes
import platform
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from llmkit.models.families import family_of

_NAME = "llmkit-cpu"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


class _Drop(torch.autograd.Function):
    """Zero elements whose byte falls below `threshold`; saves a byte per element for the backward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, threshold: int) -> Tensor:
        count = hidden.numel()
        words = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)  # all 64 bits are random
        mask = words.view(torch.uint8)[:count].view(hidden.shape).ge_(threshold)
        ctx.save_for_backward(mask)
        ctx.scale = 256 / (256 - threshold)
        return (hidden * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (gradient * mask).mul_(ctx.scale), None


def byte_dropout(hidden: Tensor, *, rate: float) -> Tensor:
    """Dropout at `rate` rounded to 1/256 (at least 1/256), from torch's global generator. Any shape, on the CPU."""
    threshold = max(1, min(255, round(rate * 256)))
    dropped: Tensor = _Drop.apply(hidden, threshold)  # type: ignore[no-untyped-call]
    return dropped


class ByteDropout(nn.Module):
    """Replaces `nn.Dropout`: the same attribute `p`, no parameters."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, hidden: Tensor) -> Tensor:
        return byte_dropout(hidden, rate=self.p) if self.training and self.p > 0 else hidden


def speed_up_on_cpu(model: PreTrainedModel) -> None:
    """Replace dropout and attention of a model before training on a CPU. Weights and config do not change."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                setattr(module, name, ByteDropout(child.p).train(child.training))
    _keep_freed_memory()
    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    if family_of(model.config.model_type, name="the model").attention_kernels[:1] == ("sdpa",):
        model.set_attn_implementation(_NAME)


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step, instead of returning it to the system.

    Otherwise each step allocates all its activations again, page by page: 1.3x the time of a step of a tiny T5. The
    peak memory is up to 1.4x as high. Other C libraries are not changed.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)


# B batch, H heads, Q queries, K keys, D units of a head


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: (B, H, Q, D) in, (B, Q, H, D) out.

    The fused kernel has no dropout: with dropout, its three steps are computed here, with random bytes.
    """
    if dropout == 0:
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, 0.0, scaling, is_causal, position_bias, **kwargs
        )
    if (groups := query.shape[1] // key.shape[1]) > 1:  # several heads of queries for a head of keys and values
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(-1, -2)  # (B, H, Q, K)
    if position_bias is not None:
        scores = scores + position_bias
    causal = module.is_causal if is_causal is None else is_causal
    if attention_mask is None and causal and query.shape[2] > 1:
        attention_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attention_mask is not None:
        lowest = torch.finfo(scores.dtype).min
        scores = (
            scores.masked_fill(~attention_mask, lowest)
            if attention_mask.dtype == torch.bool
            else scores + attention_mask
        )
    weights = byte_dropout(scores.softmax(dim=-1), rate=dropout)
    return (weights @ value).transpose(1, 2).contiguous(), None

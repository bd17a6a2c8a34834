"""Losses summed in nats, without all vocabulary logits in memory at once.

Legend: N positions, D hidden units, C classes, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = -100
"""The label of a position that is not a target."""
_CHUNK_ELEMENTS = 4_000_000
"""Logits in memory at once: 16 MB in float32."""
_smoothed_share: ContextVar[float] = ContextVar("smoothed_share", default=0.0)


class VocabularyOutputs(NamedTuple):
    """The arguments of `vocabulary_loss_sum` and `vocabulary_losses`."""

    hidden: Tensor
    """(..., D) states in front of the head, already scaled."""
    weight: Tensor
    """(V, D)"""
    labels: Tensor
    """(...) ids, `IGNORED` where nothing counts."""
    bias: Tensor | None = None
    """(V,), or None for a head without."""


@contextmanager
def label_smoothing(share: float) -> Iterator[None]:
    """Inside, both losses below spread `share` of each target evenly over all outputs (Szegedy et al. 2016, section 7).

    The training step uses it around a task's `loss_sum`. So tasks do not implement it, and evaluation gets the
    plain loss.
    """
    before = _smoothed_share.set(share)
    try:
        yield
    finally:
        _smoothed_share.reset(before)


def cross_entropy_sum(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Nats of (N, C) logits over the labels (N,) that are not `IGNORED`, in float32.

    Args:
        logits: -inf at an output that is impossible; smoothing spreads nothing there.
        weights: (C,) weight of each class.
    """
    logits, share = logits.float(), _smoothed_share.get()
    total = functional.cross_entropy(logits, labels, weight=weights, ignore_index=IGNORED, reduction="sum")
    if not share:
        return total
    impossible = logits.isneginf()
    spread = -logits.log_softmax(dim=-1).masked_fill(impossible, 0.0)  # (N, C) nats of each output
    if weights is not None:
        spread = spread * weights
    even = spread.sum(dim=-1) / (~impossible).sum(dim=-1)
    return (1 - share) * total + share * even[labels != IGNORED].sum()


def cross_entropies(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """(N,) the nats that `cross_entropy_sum` adds up without smoothing; 0 where the label is `IGNORED`."""
    return functional.cross_entropy(logits.float(), labels, weight=weights, ignore_index=IGNORED, reduction="none")


def row_sums(values: Tensor, labels: Tensor) -> Tensor:
    """(B,) the sums of the values of each row.

    Args:
        values: one for each label that counts, in order; or one for each label.
        labels: (B,) or (B, ...)
    """
    if values.numel() != labels.numel():
        by_label = values.new_zeros(labels.shape)
        by_label[labels != IGNORED] = values
        values = by_label
    return values.reshape(len(labels), -1).sum(dim=1)


@torch.no_grad()
def vocabulary_losses(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None) -> Tensor:
    """(N,) the nats of each label that counts, in order, whose sum is `vocabulary_loss_sum` without smoothing."""
    flat = labels.reshape(-1)
    counted = (flat != IGNORED).nonzero().squeeze(1)
    states, targets = hidden.reshape(-1, hidden.shape[-1])[counted], flat[counted]
    nats = torch.zeros(len(states), dtype=torch.float32, device=states.device)
    rows = max(1, _CHUNK_ELEMENTS // weight.shape[0])
    for start in range(0, len(states), rows):
        part = slice(start, start + rows)
        logits = _chunk_logits(states[part], weight, bias)  # (n, V)
        nats[part] = logits.logsumexp(dim=-1) - logits.gather(1, targets[part, None]).squeeze(1)
    return nats


def _chunk_logits(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(n, V) float32; under autocast the product is computed in its dtype."""
    logits = (states @ weight.T).float()
    if bias is not None:
        logits += bias.float()
    return logits


def vocabulary_loss_sum(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Nats of the head `hidden @ weight.T + bias` over the labels that count, in chunks, forward and backward.

    The gradient is computed together with the loss, so that each chunk's logits are computed once and not kept.

    Args:
        hidden: (..., D) states in front of the head, already scaled.
        weight: (V, D)
        labels: (...) ids, `IGNORED` where nothing counts.
        bias: (V,), or None for a head without.
    Returns:
        Scalar float32; 0, with zero gradients, if no label counts.
    """
    flat = labels.reshape(-1)
    counted = (flat != IGNORED).nonzero().squeeze(1)  # the head runs only for targets
    states = hidden.reshape(-1, hidden.shape[-1])[counted]  # (N, D)
    # Autograd asks for the gradient of a parameter even in inference mode; there it would be two thirds of the work.
    # Of a frozen or an adapted model, the matrix's own gradient would be one third.
    trained = tuple(
        torch.is_grad_enabled() and tensor is not None and tensor.requires_grad for tensor in (states, weight, bias)
    )
    share = _smoothed_share.get()
    total: Tensor = _VocabularyLoss.apply(states, weight, bias, flat[counted], trained, share)  # type: ignore[no-untyped-call]
    return total


class _VocabularyLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        trained: tuple[bool, bool, bool],
        share: float,
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        states_gradient, weight_gradient, bias_gradient = (
            torch.zeros_like(tensor, dtype=torch.float32) if needed and tensor is not None else None
            for tensor, needed in zip((states, weight, bias), trained, strict=True)
        )
        rows = max(1, _CHUNK_ELEMENTS // weight.shape[0])
        for start in range(0, len(states), rows):
            chunk, targets = states[start : start + rows], labels[start : start + rows]
            logits = _chunk_logits(chunk, weight, bias)  # (n, V)
            normalizer = logits.logsumexp(dim=-1)
            target_logits = (1 - share) * logits.gather(1, targets[:, None]).squeeze(1)
            if share:
                target_logits += share * logits.mean(dim=-1)
            total += (normalizer - target_logits).sum()
            if not any(trained):
                continue
            gradient = logits.sub_(normalizer[:, None]).exp_()  # softmax, less the target distribution
            if share:
                gradient -= share / weight.shape[0]
            gradient[torch.arange(len(targets), device=targets.device), targets] -= 1 - share
            if bias_gradient is not None:
                bias_gradient += gradient.sum(dim=0)
            gradient = gradient.to(chunk.dtype)
            if states_gradient is not None:
                states_gradient[start : start + rows] = gradient @ weight.to(chunk.dtype)
            if weight_gradient is not None:
                weight_gradient += gradient.T @ chunk
        if any(trained):
            ctx.save_for_backward(states_gradient, weight_gradient, bias_gradient)
            ctx.dtypes = states.dtype, weight.dtype, None if bias is None else bias.dtype
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradients = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return (
            *(None if saved is None else (saved * gradient).to(dtype) for saved, dtype in gradients),
            None,
            None,
            None,
        )

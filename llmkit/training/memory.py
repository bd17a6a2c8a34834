"""Micro-batches for which memory does not suffice."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from llmkit.errors import MachineError

logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class Shortage:
    """A micro-batch that did not fit into memory."""

    rows: int
    tokens: int
    """Of its longest row."""


def smaller_micro_batches(
    shortage: Shortage | None, *, micro_batch_tokens: int, step: int, accelerator: Accelerator
) -> int:
    """A limit that splits every micro-batch that did not fit, the same on all processes, with a warning.

    Args:
        shortage: of this process; None if its own micro-batches fit.
        step: counted from 0.
    Raises:
        MachineError: a row alone does not fit.
    """
    own = [] if shortage is None else [shortage]
    shortages = own if accelerator.num_processes == 1 else gather_object(own)
    single = [other.tokens for other in shortages if other.rows == 1]
    if single:
        raise MachineError(
            f"step {step + 1}: out of memory with a batch of 1 x {max(single):,} tokens. Use shorter "
            "examples (a smaller max_tokens or block_tokens), train.gradient_checkpointing: true, or a smaller model."
        )
    smaller = micro_batch_tokens
    while any(smaller // max(1, other.tokens) >= other.rows for other in shortages):
        smaller //= 2
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if accelerator.is_main_process:
        logger.warning(
            "out of memory at step %s: micro_batch_tokens is reduced to %s, from now on; the updates stay the same",
            *(f"{number:,}" for number in (step + 1, smaller)),
        )
    return smaller

"""Random numbers of a step depend on its position, not on earlier steps: dropout needs no history."""

from __future__ import annotations

import numpy as np
import torch


def seed_micro_batch(*, seed: int, step: int, micro_batch: int, rank: int) -> None:
    """Seed the generators of all devices for one micro-batch."""
    low, high = np.random.SeedSequence([seed, step, micro_batch, rank]).generate_state(2)
    state = int(low) | int(high) << 32
    if torch.accelerator.is_available():
        torch.manual_seed(state)
    else:  # the same, without a stack trace that torch keeps for each device that is not there: 2 ms
        torch.default_generator.manual_seed(state)

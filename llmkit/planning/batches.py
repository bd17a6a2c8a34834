"""The batches of the first steps, as training would form them: padding, tokens, and the largest micro-batches.

Legend: N examples of a micro-batch, T tokens of its longest one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmkit.data.examples import Examples
from llmkit.data.order import Indices, batch_of_step, cut_by_tokens

_MOST_STEPS = 1_000


@dataclass(frozen=True)
class Batches:
    """What the first steps have, up to a thousand."""

    steps: int
    tokens: int
    """Without padding."""
    positions: int
    """With padding."""
    micro_batches: float
    """Of a step, on average."""
    largest: tuple[tuple[Indices, ...], ...]
    """The micro-batches that may need most memory, with the most positions or the most pairs of positions; each with the
    next largest of its step, in the order of the step."""
    largest_step: int
    """The step, counted from 0, of the first of them."""

    @property
    def padding_share(self) -> float:
        return 1 - self.tokens / max(1, self.positions)


def first_batches(examples: Examples, *, steps: int, batch_size: int, seed: int, micro_batch_tokens: int) -> Batches:
    """Form the batches of the first steps, on one device.

    Args:
        steps: of the whole training.
    """
    counted = min(steps, _MOST_STEPS)
    tokens = positions = micro_batches = largest_step = 0
    most_positions = most_pairs = 0
    by_positions: tuple[Indices, ...] = ()
    by_pairs: tuple[Indices, ...] = ()
    for step in range(counted):
        batch = batch_of_step(step, count=len(examples), batch_size=batch_size, seed=seed)
        cuts = cut_by_tokens(batch, examples.lengths, max_tokens=micro_batch_tokens)
        micro_batches += len(cuts)
        tokens += int(examples.lengths[batch].sum())
        for number, cut in enumerate(cuts):
            size, longest = examples.padded_tokens(cut), int(examples.lengths[cut].max())
            positions += size
            if size > most_positions:
                most_positions, by_positions, largest_step = size, _with_next(examples, cuts, number), step
            if len(cut) * longest**2 > most_pairs:
                most_pairs, by_pairs = len(cut) * longest**2, _with_next(examples, cuts, number)
    same = all(np.array_equal(first, second) for first, second in zip(by_positions, by_pairs, strict=False))
    largest = (by_positions,) if same else (by_positions, by_pairs)
    return Batches(counted, tokens, positions, micro_batches / max(1, counted), largest, largest_step)


def _with_next(examples: Examples, cuts: list[Indices], number: int) -> tuple[Indices, ...]:
    """A micro-batch and the largest of the others, in their order."""
    others = [other for other in range(len(cuts)) if other != number]
    chosen = sorted([number, *sorted(others, key=lambda other: -examples.padded_tokens(cuts[other]))[:1]])
    return tuple(cuts[index] for index in chosen)

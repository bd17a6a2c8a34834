"""The memory that a training takes on a CPU: its allocations, step by step and while it saves, on a heap with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.planning.heap import Heap
from llmkit.planning.live_memory import Allocations

_STEPS = 4
"""After so many the heap grows little."""
_OBJECTS = (24, 104, 200)
"""Bytes of what torch allocates beside each tensor's numbers: counts of references, the storage, the tensor."""
_NODES = (0, 250, 312, 400)
"""And of a node of the backward pass. These differ, and a few bytes more or less change which gaps are used again, so the
result is the mean over several."""
_BYTES_HEADER = 33
"""Of Python's bytes."""


@dataclass(frozen=True)
class StepMemory:
    """What a step allocates and frees, in order."""

    computing: Allocations
    """Activations and gradients, to the end of the backward pass."""
    clearing: Allocations
    """The gradients after the optimizer's step."""
    peak: int
    """The most that is in use at once."""


def cpu_peak(
    weights: Sequence[int], trained: Sequence[int], steps: Sequence[StepMemory], *, model_file: int, optimizer_file: int
) -> int:
    """The most bytes of a training at once, with the gaps between allocations.

    Args:
        weights, trained: bytes of each parameter, and of those that are trained.
        steps: taken in turn.
        model_file, optimizer_file: bytes of these files of a checkpoint.
    """
    peaks = [
        _peak(weights, trained, steps, model_file, optimizer_file, objects=(*_OBJECTS, node) if node else _OBJECTS)
        for node in _NODES
    ]
    return round(sum(peaks) / len(peaks))


def _peak(
    weights: Sequence[int],
    trained: Sequence[int],
    steps: Sequence[StepMemory],
    model_file: int,
    optimizer_file: int,
    *,
    objects: Sequence[int],
) -> int:
    heap = Heap()
    for size in weights:
        heap.allocate_tensor(size)
    for number in range(_STEPS):
        step = steps[number % len(steps)]
        addresses: dict[int, list[int]] = {}
        _play(heap, step.computing, addresses, objects=objects)
        if number == 0:  # the gradients are still there, so AdamW's moments lie between them
            for size in trained:
                for part in (4, size, size):
                    heap.allocate_tensor(part)
        _play(heap, step.clearing, addresses, objects=objects)
    _save(heap, model_file, optimizer_file)
    return heap.peak


def _play(heap: Heap, allocations: Allocations, addresses: dict[int, list[int]], *, objects: Sequence[int]) -> None:
    for key, size in allocations:
        if size > 0:
            addresses[key] = [*map(heap.allocate, objects), heap.allocate_tensor(size)]
        else:
            for address in reversed(addresses.pop(key)):
                heap.release(address)


def _save(heap: Heap, *files: int) -> None:
    """Both files in memory at once, each of which safetensors copies; then each is read back."""
    contents = []
    for size in files:
        made = heap.allocate(size)
        contents.append(heap.allocate(size + _BYTES_HEADER))
        heap.release(made)
    for size in files:
        heap.release(heap.allocate(size + _BYTES_HEADER + 1))
    for address in contents:
        heap.release(address)

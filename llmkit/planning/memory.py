"""The memory that a training needs on its device, and in saving its checkpoints.

Weights, gradients and AdamW's two moments are arithmetic. The memory of activations is that of a forward and a backward
pass of the largest micro-batch, from shapes alone; see `live_memory.py`. On a CPU the same allocations are played on a
heap, which has gaps; see `cpu_peak.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from llmkit.data.examples import Examples
from llmkit.data.order import Indices
from llmkit.models.cpu import speed_up_on_cpu
from llmkit.models.layers import recompute_activations
from llmkit.planning.cpu_peak import StepMemory, cpu_peak
from llmkit.planning.live_memory import LiveBytes, rounded_up
from llmkit.planning.tensors import replace_tensors
from llmkit.recipe.blocks import TrainBlock
from llmkit.tasks.base import Task
from llmkit.training.precision import Precision
from llmkit.training.step import LossModule

logger = logging.getLogger("llmkit")
_CPU_BYTES = 20 * 2**20
"""Of a tokenizer and encoded rows; fitted to the first six runs of benchmarks/plan_accuracy.py."""
_CUDA_BLOCK = 512
"""Bytes: torch's allocator on CUDA rounds up to multiples of it."""
_CUDA_BYTES = 75 * 2**20
"""About what two runs on an H200 took above the rest, 74 and 77 MiB, probably cuBLAS's workspaces."""
_NEED_NUMBERS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    GuardOnDataDependentSymNode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
"""What torch raises for operations that need the numbers of a tensor, or that have no shapes."""
_FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Memory:
    """Bytes on the device of one process."""

    weights: int
    gradients: int
    optimizer: int
    activations: int | None
    """Of the largest micro-batch, with all that is in use beside them; None if it cannot be known without running it."""
    saving: int
    """Copies of weights and optimizer state while a checkpoint is written and read back, in the memory of the machine."""
    peak: int
    """The most at once: on a CPU with saving and the gaps between allocations, else that of a step."""


def needed_memory(
    task: Task,
    examples: Examples,
    largest: Sequence[Sequence[Indices]],
    *,
    train: TrainBlock,
    precision: Precision,
    device: torch.device,
    saved_bytes: int,
) -> Memory:
    """The memory of a training.

    Args:
        task: around a model without weights, which gets fake tensors.
        largest: micro-batches of a step, one after the other, that may need most.
        saved_bytes: of a checkpoint.
    """
    sizes, trained = _sizes(task, trained=False), _sizes(task, trained=True)
    try:
        steps = _steps(task, examples, largest, train=train, precision=precision, device=device)
    except _NEED_NUMBERS as error:
        logger.debug("activations cannot be planned: %s", error)
        steps = None
    weights, gradients = sum(sizes), sum(trained)
    activations = None if steps is None else max(0, max(step.peak for step in steps) - gradients)
    saving = saved_bytes + 2 * gradients  # the largest file is read back
    total = weights + 3 * gradients + (activations or 0)
    if device.type == "cpu":
        total += saving + _CPU_BYTES
        if steps is not None:
            files = {"model_file": saved_bytes - 2 * gradients, "optimizer_file": 2 * gradients}
            total = cpu_peak(sizes, trained, steps, **files) + _CPU_BYTES
    elif device.type == "cuda":
        total += (
            _CUDA_BYTES + _rounding(sizes) + 3 * _rounding(trained) + len(trained) * _CUDA_BLOCK
        )  # AdamW's counts of steps
    return Memory(weights, gradients, 2 * gradients, activations, saving, total)


def _sizes(task: Task, *, trained: bool) -> list[int]:
    """Bytes of each parameter."""
    return [parameter.nbytes for parameter in unique_parameters(task) if parameter.requires_grad or not trained]


def _rounding(sizes: Sequence[int]) -> int:
    return sum(rounded_up(size, _CUDA_BLOCK) - size for size in sizes)


def unique_parameters(task: Task) -> list[torch.nn.Parameter]:
    """All parameters; tied ones, separate on the meta device, once."""
    model = task.loaded.model
    tied, named = model.all_tied_weights_keys, dict(model.named_parameters())
    return [parameter for name, parameter in named.items() if tied.get(name) not in named]


def _steps(
    task: Task,
    examples: Examples,
    largest: Sequence[Sequence[Indices]],
    *,
    train: TrainBlock,
    precision: Precision,
    device: torch.device,
) -> list[StepMemory]:
    """What the largest micro-batches of the steps allocate."""
    model = task.loaded.model
    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def fake(tensor: Tensor) -> Tensor:
        with mode:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=device)

    replace_tensors(model, fake)
    if device.type == "cpu":
        speed_up_on_cpu(model)
    if train.gradient_checkpointing:
        recompute_activations(model)
    model.train()
    module = LossModule(task, smoothed_share=train.label_smoothing)
    return [_step(module, task, examples, cut, precision=precision, device=device) for cut in largest]


def _step(
    module: LossModule,
    task: Task,
    examples: Examples,
    micro_batches: Sequence[Indices],
    *,
    precision: Precision,
    device: torch.device,
) -> StepMemory:
    """The gradients of these micro-batches, which accumulate."""
    batches = [
        {name: tensor.to(device) for name, tensor in task.collate(examples, indices, epoch=0).items()}
        for indices in micro_batches
    ]
    model, format_ = task.loaded.model, _FORMATS.get(precision.format)
    existing = [*model.parameters(), *model.buffers(), *(tensor for batch in batches for tensor in batch.values())]
    with LiveBytes(existing, rounded_to=_CUDA_BLOCK if device.type == "cuda" else 1) as live:
        for batch in batches:
            with torch.autocast(device.type, format_) if format_ is not None else nullcontext():
                loss = module(batch)
            loss.backward()
            del loss
        computed = len(live.allocations)
        model.zero_grad()
    return StepMemory(live.allocations[:computed], live.allocations[computed:], live.peak)

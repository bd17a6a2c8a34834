"""The memory that a training needs on its device, and in saving its checkpoints.

Weights, gradients and AdamW's two moments are arithmetic. The memory of activations is that of a forward and a backward
pass of the largest micro-batch, from shapes alone; see `live_memory.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from llmkit.data.examples import Examples
from llmkit.data.order import Indices
from llmkit.models.cpu import speed_up_on_cpu
from llmkit.models.layers import recompute_activations
from llmkit.planning.live_memory import LiveBytes
from llmkit.planning.tensors import replace_tensors
from llmkit.recipe.blocks import TrainBlock
from llmkit.tasks.base import Task
from llmkit.training.precision import Precision
from llmkit.training.step import LossModule

logger = logging.getLogger("llmkit")
_CPU_BYTES, _CPU_GAPS, _CPU_REUSED = 35 * 2**20, 0.1, 1 / 3
"""On a CPU: tokenizer and encoded rows; gaps between allocations, as a share of the activations; and the share of what a
step frees that the copies of a checkpoint find room in. Fitted to the runs of benchmarks/plan_accuracy.py."""
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

    def total(self, *, on_cpu: bool) -> int:
        """The peak: in a step, or on a CPU in saving after one."""
        step = self.weights + self.optimizer + self.gradients + (self.activations or 0)
        if not on_cpu:
            return step
        step += _CPU_BYTES + round(_CPU_GAPS * (self.activations or 0))
        freed = self.gradients + (self.activations or 0)
        return step + max(0, self.saving - round(_CPU_REUSED * freed))


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
    parameters = unique_parameters(task)
    trained = sum(parameter.nbytes for parameter in parameters if parameter.requires_grad)
    try:
        activations = _activations(task, examples, largest, train=train, precision=precision, device=device)
    except (RuntimeError, NotImplementedError, AssertionError) as error:  # torch's, of operations that need numbers
        logger.debug("activations cannot be planned: %s", error)
        activations = None
    return Memory(
        weights=sum(parameter.nbytes for parameter in parameters),
        gradients=trained,
        optimizer=2 * trained,
        activations=activations,
        saving=saved_bytes + 2 * trained,  # the largest file is read back
    )


def unique_parameters(task: Task) -> list[torch.nn.Parameter]:
    """All parameters; tied ones, separate on the meta device, once."""
    model = task.loaded.model
    tied, named = model.all_tied_weights_keys, dict(model.named_parameters())
    return [parameter for name, parameter in named.items() if tied.get(name) not in named]


def _activations(
    task: Task,
    examples: Examples,
    largest: Sequence[Sequence[Indices]],
    *,
    train: TrainBlock,
    precision: Precision,
    device: torch.device,
) -> int:
    """Peak of the largest micro-batch, without weights, gradients and optimizer."""
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
    peaks = [_peak(module, task, examples, cut, precision=precision, device=device) for cut in largest]
    return max(peaks)


def _peak(
    module: LossModule,
    task: Task,
    examples: Examples,
    micro_batches: Sequence[Indices],
    *,
    precision: Precision,
    device: torch.device,
) -> int:
    """Peak without weights and their gradients, which accumulate over the micro-batches."""
    batches = [
        {name: tensor.to(device) for name, tensor in task.collate(examples, indices, epoch=0).items()}
        for indices in micro_batches
    ]
    model, format_ = task.loaded.model, _FORMATS.get(precision.format)
    trained = sum(parameter.nbytes for parameter in unique_parameters(task) if parameter.requires_grad)
    existing = [tensor for batch in batches for tensor in batch.values()]
    with LiveBytes([*model.parameters(), *model.buffers(), *existing]) as live:
        for batch in batches:
            with torch.autocast(device.type, format_) if format_ is not None else nullcontext():
                loss = module(batch)
            loss.backward()
            del loss
        model.zero_grad()
    peak: int = live.peak
    return max(0, peak - trained)

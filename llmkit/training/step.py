"""One optimizer step over a global batch: split into micro-batches, summed, divided once, applied.

The loss is a sum over targets divided by the targets of the whole step, counted over micro-batches and devices before
the backward pass. So 1 x 32, 4 x 8 and 2 devices x 16 give the same update.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW

from llmkit.data.examples import Examples
from llmkit.data.order import Indices, batch_of_step, cut_by_tokens, share_of_rank, steps_per_epoch
from llmkit.errors import DivergedError, MachineError
from llmkit.models.losses import label_smoothing
from llmkit.tasks.base import Batch, Task, count_targets
from llmkit.training.optimizer import set_learning_rate
from llmkit.training.randomness import seed_micro_batch

logger = logging.getLogger("llmkit")


class LossModule(nn.Module):
    """The task's loss as a module, so that accelerate can wrap it for several devices and mixed precision."""

    def __init__(self, task: Task, *, smoothed_share: float = 0.0) -> None:
        super().__init__()
        self.model = task.loaded.model
        self._loss_sum = task.loss_sum
        self._smoothed_share = smoothed_share

    def forward(self, batch: Batch) -> Tensor:
        with label_smoothing(self._smoothed_share):
            return self._loss_sum(batch)


@dataclass(frozen=True)
class StepTotals:
    """Sums over all micro-batches and devices."""

    nats: float
    targets: int
    tokens: int
    positions: int
    gradient_norm: float
    elapsed_seconds: float


@dataclass
class Stepper:
    """Everything that one step needs. `micro_batch_tokens` is halved when the device runs out of memory."""

    task: Task
    examples: Examples
    module: nn.Module
    optimizer: AdamW
    accelerator: Accelerator
    batch_size: int
    max_grad_norm: float | None
    micro_batch_tokens: int
    seed: int

    def run(self, step: int, *, learning_rate: float) -> StepTotals:
        """Take step number `step`, counted from 0.

        Raises:
            DivergedError: the loss or the gradient is not finite; the weights are those before the step.
            MachineError: one example alone, or the optimizer's state, does not fit into the device's memory.
        """
        started = time.monotonic()
        while True:
            try:
                nats, totals = self._accumulate(step)
                break
            except torch.OutOfMemoryError as error:
                self._halve(error)
        if not math.isfinite(nats):
            self.optimizer.zero_grad()
            raise DivergedError(self._diverged(step, f"the loss is {nats}"))
        set_learning_rate(self.optimizer, learning_rate)
        limit = math.inf if self.max_grad_norm is None else self.max_grad_norm
        norm = float(self.accelerator.clip_grad_norm_(self.module.parameters(), limit))
        if not math.isfinite(norm) and not self._scaler_skips():
            self.optimizer.zero_grad()
            raise DivergedError(self._diverged(step, f"the gradient's norm is {norm}"))
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError as error:  # at the first step, before anything is changed
            raise MachineError("out of memory for the optimizer's state. Use a smaller model.") from error
        self.optimizer.zero_grad()
        targets, tokens, positions = totals
        return StepTotals(nats, targets, tokens, positions, norm, time.monotonic() - started)

    def _accumulate(self, step: int) -> tuple[float, tuple[int, int, int]]:
        """Gradients of the whole step. Returns its nats, and its targets, tokens and positions."""
        micro_batches, empty = self._micro_batches(step)
        epoch = step // steps_per_epoch(len(self.examples), batch_size=self.batch_size)
        batches = [self.task.collate(self.examples, cut, epoch=epoch) for cut in micro_batches]
        # Count before the forward pass: the division needs the targets of all micro-batches and devices.
        counts = [0, 0, 0] if empty else self._counts(micro_batches, batches)
        targets, tokens, positions = (int(count) for count in self._summed(torch.tensor(counts)))
        scale = 0.0 if empty else self.accelerator.num_processes / max(1, targets)  # DDP averages; this undoes it
        nats = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            seed_micro_batch(seed=self.seed, step=step, micro_batch=number, rank=self.accelerator.process_index)
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                loss = self.module({name: tensor.to(self.accelerator.device) for name, tensor in batch.items()})
                self.accelerator.backward(loss * scale)
            nats += 0 if empty else loss.detach()
        return float(self._summed(nats)), (targets, tokens, positions)

    def _micro_batches(self, step: int) -> tuple[list[Indices], bool]:
        """This device's micro-batches of the global batch; if it has none, a borrowed example with weight 0."""
        batch = batch_of_step(step, count=len(self.examples), batch_size=self.batch_size, seed=self.seed)
        rank, world_size = self.accelerator.process_index, self.accelerator.num_processes
        share = share_of_rank(batch, self.examples.lengths, rank=rank, world_size=world_size)
        empty = len(share) == 0  # every device must take part in the sum of the gradients
        cuts = cut_by_tokens(batch[:1] if empty else share, self.examples.lengths, max_tokens=self.micro_batch_tokens)
        return cuts, empty

    def _counts(self, cuts: list[Indices], batches: list[Batch]) -> list[int]:
        targets = sum(map(count_targets, batches))
        tokens = sum(int(self.examples.lengths[cut].sum()) for cut in cuts)
        positions = sum(self.examples.padded_tokens(cut) for cut in cuts)
        return [targets, tokens, positions]

    def _summed(self, value: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return value
        summed: Tensor = self.accelerator.reduce(value.to(self.accelerator.device), reduction="sum")
        return summed

    def _scaler_skips(self) -> bool:
        """True if the fp16 scaler skips this step and halves its scale; below 1, the gradient itself is not finite."""
        scaler = self.accelerator.scaler
        return scaler is not None and scaler.get_scale() >= 1

    def _halve(self, error: torch.OutOfMemoryError) -> None:
        self.optimizer.zero_grad()
        longest = int(self.examples.lengths.max())
        if self.micro_batch_tokens <= longest:
            raise MachineError(
                f"out of memory with one example at a time; the longest has {longest:,} tokens. Use shorter examples "
                "or a smaller model."
            ) from error
        if self.accelerator.num_processes > 1:  # the other processes would wait for this one's gradients
            raise MachineError(
                f"out of memory with micro_batch_tokens {self.micro_batch_tokens:,}. Set train.micro_batch_tokens to "
                f"{self.micro_batch_tokens // 2:,}; the update stays the same."
            ) from error
        self.micro_batch_tokens //= 2
        torch.cuda.empty_cache()
        logger.warning(
            "out of memory: micro_batch_tokens is halved to %s; the update stays the same",
            f"{self.micro_batch_tokens:,}",
        )

    def _diverged(self, step: int, fault: str) -> str:
        batch = batch_of_step(step, count=len(self.examples), batch_size=self.batch_size, seed=self.seed)
        listed = ", ".join(str(index) for index in batch[:8]) + ("..." if len(batch) > 8 else "")
        return (
            f"step {step + 1}: {fault}; the step was not taken. Its examples: {listed}. "
            "Lower train.learning_rate, lengthen train.warmup, or set train.precision to fp32."
        )


def scaler_of(accelerator: Accelerator) -> Mapping[str, float | int] | None:
    """The gradient scaler's state, for fp16."""
    return None if accelerator.scaler is None else dict(accelerator.scaler.state_dict())

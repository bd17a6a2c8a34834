"""One optimizer step over a global batch: split into micro-batches, summed, divided once, applied.

The loss is a sum over targets divided by the targets of the whole step, counted over micro-batches and devices before
the backward pass. So 1 x 32, 4 x 8 and 2 devices x 16 give the same update.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW

from llmkit.data.examples import Examples
from llmkit.data.order import Indices, batch_of_step, cut_by_tokens, share_of_rank, steps_per_epoch
from llmkit.errors import DivergedError, MachineError, is_out_of_memory
from llmkit.models.losses import label_smoothing
from llmkit.tasks.base import Batch, Task
from llmkit.tasks.target_counts import count_targets
from llmkit.training.divergence import diverged, faulty_examples
from llmkit.training.memory import Shortage, smaller_micro_batches
from llmkit.training.optimizer import set_learning_rate
from llmkit.training.randomness import seed_micro_batch


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
            MachineError: one example alone, or the optimizer's state, does not fit into memory.
        """
        started = time.monotonic()
        nats, totals = self._accumulate(step)
        if not math.isfinite(nats):
            self.optimizer.zero_grad()
            raise DivergedError(self._diverged(step, f"the loss is {nats}", loss=True))
        set_learning_rate(self.optimizer, learning_rate)
        limit = math.inf if self.max_grad_norm is None else self.max_grad_norm
        norm = float(self.accelerator.clip_grad_norm_(self.module.parameters(), limit))
        if not math.isfinite(norm) and not self._scaler_skips():
            self.optimizer.zero_grad()
            raise DivergedError(self._diverged(step, f"the gradient's norm is {norm}", loss=False))
        try:
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:  # at the first step, before anything is changed
            if not is_out_of_memory(error):
                raise
            raise MachineError("out of memory for the optimizer's state. Use a smaller model.") from error
        self.optimizer.zero_grad()
        targets, tokens, positions = totals
        return StepTotals(nats, targets, tokens, positions, norm, time.monotonic() - started)

    def _accumulate(self, step: int) -> tuple[float, tuple[int, int, int]]:
        """Gradients of the whole step, from its start again with smaller micro-batches if memory does not suffice.

        Returns:
            Its nats, and its targets, tokens and positions.
        """
        while True:
            nats, totals, shortage = self._attempt(step)
            # A process that is out of memory must not leave the others waiting for its gradients: all decide together.
            total_nats, short = self._summed(torch.stack([nats, torch.full_like(nats, shortage is not None)])).tolist()
            if not short:
                self._sum_gradients()
                return total_nats, totals
            self.optimizer.zero_grad()
            self.micro_batch_tokens = smaller_micro_batches(
                shortage, micro_batch_tokens=self.micro_batch_tokens, step=step, accelerator=self.accelerator
            )

    def _attempt(self, step: int) -> tuple[Tensor, tuple[int, int, int], Shortage | None]:
        """Gradients and nats of this process's share, the totals of the step, and the micro-batch that did not fit."""
        micro_batches, empty = self._micro_batches(step)
        epoch = self._epoch(step)
        batches = [self.task.collate(self.examples, cut, epoch=epoch) for cut in micro_batches]
        # Count before the forward pass: the division needs the targets of all micro-batches and devices.
        counts = [0, 0, 0] if empty else self._counts(micro_batches, batches)
        targets, tokens, positions = (int(count) for count in self._summed(torch.tensor(counts)))
        scale = 0.0 if empty else 1 / max(1, targets)
        nats = torch.zeros((), device=self.accelerator.device)
        shortage = None
        for number, batch in enumerate(batches):
            seed_micro_batch(seed=self.seed, step=step, micro_batch=number, rank=self.accelerator.process_index)
            try:
                loss = self.module({name: tensor.to(self.accelerator.device) for name, tensor in batch.items()})
                self.accelerator.backward(loss * scale)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                cut = micro_batches[number]
                shortage = Shortage(rows=len(cut), tokens=int(self.examples.lengths[cut].max()))
                break
            nats += 0 if empty else loss.detach()
        return nats, (targets, tokens, positions), shortage

    def _sum_gradients(self) -> None:
        """Over all processes, once each of them has its own."""
        if self.accelerator.num_processes == 1:
            return
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        for work in [torch.distributed.all_reduce(gradient, async_op=True) for gradient in gradients]:
            work.wait()

    def _epoch(self, step: int) -> int:
        return step // steps_per_epoch(len(self.examples), batch_size=self.batch_size)

    def _micro_batches(self, step: int) -> tuple[list[Indices], bool]:
        """This device's micro-batches of the global batch; if it has none, a borrowed example with weight 0."""
        batch, share = self._batch(step)
        empty = len(share) == 0  # every device must take part in the sum of the gradients
        cuts = cut_by_tokens(batch[:1] if empty else share, self.examples.lengths, max_tokens=self.micro_batch_tokens)
        return cuts, empty

    def _batch(self, step: int) -> tuple[Indices, Indices]:
        """The global batch of a step, and this device's share of it."""
        batch = batch_of_step(step, count=len(self.examples), batch_size=self.batch_size, seed=self.seed)
        rank, world_size = self.accelerator.process_index, self.accelerator.num_processes
        return batch, share_of_rank(batch, self.examples.lengths, rank=rank, world_size=world_size)

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

    def _diverged(self, step: int, fault: str, *, loss: bool) -> str:
        """The message, with the rows of the step; with those that are the cause, if it is the loss."""
        (batch, share), faulty = self._batch(step), list[int]()
        if loss:
            faulty = faulty_examples(
                self.task, self.module, self.examples, share, epoch=self._epoch(step), accelerator=self.accelerator
            )
        return diverged(self.examples, step=step, fault=fault, batch=batch, faulty=faulty)


def scaler_of(accelerator: Accelerator) -> Mapping[str, float | int] | None:
    """The gradient scaler's state, for fp16."""
    return None if accelerator.scaler is None else dict(accelerator.scaler.state_dict())

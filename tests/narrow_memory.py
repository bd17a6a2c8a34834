"""A model on a device with memory for few rows at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from llmkit.tasks.base import Task

Failure = Callable[[], BaseException]
CUDA: Failure = lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")  # noqa: E731


def narrow(task: Task, *, rows: int, failure: Failure = CUDA, backward: bool = False) -> list[int]:
    """Give the model's device memory for so many rows at once in training, in the forward or the backward pass.

    Returns the sizes that did not fit.
    """
    failed: list[int] = []

    def check(count: int) -> None:
        if count > rows:
            failed.append(count)
            raise failure()

    def before_embedding(module: Any, arguments: tuple[Any, ...]) -> None:
        if module.training:
            check(len(arguments[0]))

    def after_embedding(module: Any, arguments: tuple[Any, ...], output: torch.Tensor) -> None:
        count = len(output)
        if output.requires_grad:
            output.register_hook(lambda gradient: check(count))

    weight = task.loaded.model.get_input_embeddings().weight
    for module in task.loaded.model.modules():
        if isinstance(module, torch.nn.Embedding) and module.weight is weight:  # T5 has several
            if backward:
                module.register_forward_hook(after_embedding)
            else:
                module.register_forward_pre_hook(before_embedding)
    return failed

"""A loss or a gradient that is not finite: which rows it comes from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from llmkit.data.examples import Examples
from llmkit.data.order import Indices
from llmkit.data.row_places import places_of
from llmkit.tasks.base import Task

_LISTED = 8


def faulty_examples(
    task: Task, module: nn.Module, examples: Examples, share: Indices, *, epoch: int, accelerator: Accelerator
) -> list[int]:
    """Those examples of all processes whose loss alone is not finite, each computed again by itself.

    Args:
        share: the examples of this process.
    """
    faulty = []
    with torch.no_grad():
        for index in share:
            batch = task.collate(examples, share[share == index], epoch=epoch)
            loss = module({name: tensor.to(accelerator.device) for name, tensor in batch.items()})
            if not bool(torch.isfinite(loss)):
                faulty.append(int(index))
    if accelerator.num_processes > 1:
        faulty = gather_object(faulty)
    return sorted(faulty)


def diverged(examples: Examples, *, step: int, fault: str, batch: Iterable[int], faulty: Iterable[int] = ()) -> str:
    """The message of a step, counted from 0, that was not taken.

    Args:
        batch: the examples of the step.
        faulty: those among them that are the cause, if they are known.
    """
    rows, known = places_of(examples, batch), places_of(examples, faulty)
    cause = f"Not finite for {_listed(known)}, of {len(rows):,} rows" if known else f"Its rows: {_listed(rows)}"
    return (
        f"step {step + 1}: {fault}; the step was not taken. {cause}. "
        "Lower train.learning_rate, lengthen train.warmup, or set train.precision to fp32."
    )


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - _LISTED:,} more" if len(places) > _LISTED else ""
    return ", ".join(places[:_LISTED]) + more

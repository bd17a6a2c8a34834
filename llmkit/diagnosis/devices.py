"""The devices that torch finds, and the formats that each can train in, by the rules of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

import torch

from llmkit.diagnosis.report import Device
from llmkit.errors import UsageError
from llmkit.models.families import FAMILIES
from llmkit.training.device_memory import device_memory
from llmkit.training.environment import cpu_name
from llmkit.training.precision import Format, choose_precision

_USUAL = next(iter(FAMILIES.values()))
"""BERT, which has no rules of its own."""


def devices() -> Iterator[Device]:
    """The CPU, then the GPUs."""
    yield _described(torch.device("cpu"), cpu_name())
    for index in range(torch.cuda.device_count()):
        yield _described(torch.device("cuda", index), torch.cuda.get_device_name(index))
    if torch.backends.mps.is_available():
        yield _described(torch.device("mps"), "Apple GPU")


def cpu() -> Mapping[str, str]:
    return {
        "threads": str(torch.get_num_threads()),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "amx": "yes" if torch.cpu._is_amx_tile_supported() else "no",
        "mkldnn": "yes" if torch.backends.mkldnn.is_available() else "no",  # type: ignore[no-untyped-call]
    }


def _described(device: torch.device, description: str) -> Device:
    memory, auto = device_memory(device), choose_precision("auto", family=_USUAL, device=device)
    return Device(
        name=str(device),
        description=description,
        total_bytes=None if memory is None else memory.total,
        free_bytes=None if memory is None else memory.free,
        precision=auto.format,
        reason=auto.reason,
        formats={name: _fault(name, device) or "yes" for name in get_args(Format)},
    )


def _fault(name: Format, device: torch.device) -> str:
    """Why no family or some families cannot be trained in a format; empty if all can."""
    try:
        choose_precision(name, family=_USUAL, device=device)
    except UsageError as error:
        return f"no: {str(error).removeprefix('train.precision: ').rstrip('.')}"
    refusals = {family.name: family.refuse_precision(name, device) for family in FAMILIES.values()}
    listed = "; ".join(f"{family}: {reason}" for family, reason in refusals.items() if reason)
    return f"yes, but not for {listed}" if listed else ""

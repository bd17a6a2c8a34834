"""The memory that a device has, and how much of it is free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

_GROUP = Path("/sys/fs/cgroup")
"""Limits of a container, in its version 2 and 1 layouts."""
_LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes."""

    total: int
    free: int


def device_memory(device: torch.device) -> DeviceMemory | None:
    """The memory of a GPU, or of the machine for a CPU; None for other devices, which do not say it."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return DeviceMemory(total, free)
    return machine_memory() if device.type == "cpu" else None


def machine_memory() -> DeviceMemory:
    """The memory of the machine, or of the container that this process is in, if that has less."""
    machine = psutil.virtual_memory()
    total, free = machine.total, machine.available
    for limit_file, usage_file in _LIMITS:
        limit, usage = _number(_GROUP / limit_file), _number(_GROUP / usage_file)
        if limit is not None and usage is not None and limit < total:
            total, free = limit, min(free, limit - usage)
    return DeviceMemory(total, max(0, free))


def _number(file: Path) -> int | None:
    """The number in a file; None if there is none, as for `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None

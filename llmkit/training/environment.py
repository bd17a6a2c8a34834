"""The environment of a training: what its numbers depend on besides the recipe and the data."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.runs.environment import environment

if TYPE_CHECKING:
    from accelerate import Accelerator

    from llmkit.training.precision import Precision


def training_environment(accelerator: Accelerator, precision: Precision) -> dict[str, Any]:
    """The content of env.json; a resumed run is bit-identical only if it is equal."""
    import torch

    device = accelerator.device
    machine = environment(device=str(device), world_size=accelerator.num_processes)
    return {
        **machine,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "precision": precision.format,
    }


def cpu_name() -> str:
    """Matrix products are summed in another order on another CPU."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

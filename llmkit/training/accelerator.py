"""The accelerator of one training or evaluation."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.state import AcceleratorState


def new_accelerator(mixed_precision: str = "no") -> Accelerator:
    """An accelerator in this format, whatever this process used before.

    accelerate keeps the format of a process's first accelerator, and refuses any other.
    """
    AcceleratorState._shared_state = {}  # earlier accelerators keep the one that they have
    return Accelerator(mixed_precision=mixed_precision)

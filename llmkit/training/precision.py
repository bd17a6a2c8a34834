"""The number format that a device computes in, and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from llmkit.errors import UsageError
from llmkit.models.families import Family

Format = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Precision:
    format: Format
    reason: str

    @property
    def accelerate(self) -> str:
        """accelerate's name for it."""
        return "no" if self.format == "fp32" else self.format


def choose_precision(
    setting: Literal["auto", "fp32", "bf16", "fp16"], *, family: Family, device: torch.device
) -> Precision:
    """The number format of matrix products; weights stay in float32.

    Raises:
        UsageError: fp16 for T5, whose activations overflow in it, or on a CPU; bf16 for an LSTM on a GPU.
    """
    fault = family.refuse_precision(setting, device)
    if fault is not None:
        others = [name for name in get_args(Format) if family.refuse_precision(name, device) is None]
        raise UsageError(f"train.precision: {fault}; use {', '.join(['auto', *others])}.")
    if setting == "fp16" and device.type == "cpu":
        raise UsageError("train.precision: fp16 needs a GPU; use auto, bf16 or fp32 on a CPU.")
    if setting != "auto":
        return Precision(setting, "set in the recipe")
    if device.type == "cuda":
        fault = family.refuse_precision("bf16", device)
        if fault is not None:
            return Precision("fp32", fault)
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", "the GPU supports bf16")
        fault = family.refuse_precision("fp16", device)
        reason = "the GPU does not support bf16"
        return Precision("fp16", reason) if fault is None else Precision("fp32", f"{reason}, and {fault}")
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return Precision("bf16", "the CPU multiplies bf16 matrices (AMX)")
    return Precision("fp32", f"the {device.type.upper()} is not faster in bf16")

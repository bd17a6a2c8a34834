"""Which number format a device computes in, and why. The choice travels with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from llmkit.errors import UsageError
from llmkit.models.loaded import Family

Format = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Precision:
    format: Format
    reason: str

    @property
    def accelerate(self) -> str:
        """accelerate's word for it."""
        return "no" if self.format == "fp32" else self.format


def choose_precision(
    wanted: Literal["auto", "fp32", "bf16", "fp16"], *, family: Family, device: torch.device
) -> Precision:
    """Weights stay in float32; this is what matrix products are computed in.

    Raises:
        UsageError: fp16 for T5, whose activations overflow in it, or on a CPU; bf16 for an LSTM on a GPU.
    """
    if family == "lstm" and device.type == "cuda" and wanted in ("auto", "bf16"):
        return _of_lstm_on_gpu(wanted)
    if wanted == "fp16":
        if family == "t5":
            raise UsageError("train.precision: T5's activations overflow in fp16; use bf16, or fp32.")
        if device.type == "cpu":
            raise UsageError("train.precision: fp16 needs a GPU; use auto, bf16 or fp32 on a CPU.")
    if wanted != "auto":
        return Precision(wanted, "as the recipe says")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", "the GPU computes in bf16")
        if family == "t5":
            return Precision("fp32", "the GPU has no bf16, and T5 overflows in fp16")
        return Precision("fp16", "the GPU has no bf16")
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return Precision("bf16", "the CPU multiplies bf16 matrices (AMX)")
    return Precision("fp32", f"the {device.type.upper()} is no faster in bf16")


def _of_lstm_on_gpu(wanted: Literal["auto", "bf16"]) -> Precision:
    """Under torch's autocast cuDNN's LSTM computes in fp16, whichever format is asked for: in bf16, without the scaling
    of the loss that fp16 needs."""
    if wanted == "bf16":
        raise UsageError("train.precision: in bf16 a GPU computes an LSTM in unscaled fp16; use auto, fp32 or fp16.")
    return Precision("fp32", "a GPU has no LSTM in bf16")

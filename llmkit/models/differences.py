"""How the weights of two model folders differ, tensor by tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open


@dataclass(frozen=True)
class WeightDifferences:
    """The tensors of two folders, compared bit for bit."""

    tensors: int
    """In the first folder."""
    numbers: int
    """In the first folder."""
    different: tuple[str, ...] = ()
    """Names of tensors with other bits, or of another shape or type, or that only one folder has."""
    largest: float = 0.0
    """The largest absolute difference of two numbers; infinite if the shapes differ."""
    largest_in: str | None = None
    """The tensor that has it."""


def weight_differences(before: Path, after: Path) -> WeightDifferences:
    """Compare all safetensors files of two folders."""
    old, new = _files_of_tensors(before), _files_of_tensors(after)
    numbers, largest, largest_in = 0, 0.0, None
    different = [name for name in new if name not in old]
    for name, file in old.items():
        first = _tensor(file, name)
        numbers += first.numel()
        second = _tensor(new[name], name) if name in new else None
        if second is not None and _same_bits(first, second):
            continue
        different.append(name)
        gap = math.inf if second is None else _largest_gap(first, second)
        if largest_in is None or gap > largest:
            largest, largest_in = gap, name
    return WeightDifferences(len(old), numbers, tuple(sorted(different)), largest, largest_in)


def _files_of_tensors(folder: Path) -> dict[str, Path]:
    """Name -> the file that has the tensor."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            found.update({name if file.stem == "model" else f"{file.stem}/{name}": file for name in tensors.keys()})  # noqa: SIM118  # no mapping
    return found


def _tensor(file: Path, name: str) -> torch.Tensor:
    with safe_open(file, framework="pt") as tensors:
        tensor: torch.Tensor = tensors.get_tensor(name.removeprefix(f"{file.stem}/"))
        return tensor


def _same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return bool(torch.equal(first.reshape(-1).view(torch.uint8), second.reshape(-1).view(torch.uint8)))


def _largest_gap(first: torch.Tensor, second: torch.Tensor) -> float:
    if first.shape != second.shape:
        return math.inf
    return float((first.double() - second.double()).abs().nan_to_num(nan=math.inf).max())

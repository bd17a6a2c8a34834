"""Replace the tensors of a model without weights: by fake ones, which use no memory, or by random ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_SPREAD = 0.02
"""Of random weights: numbers of a usual size, so that no operation is slower than in training."""


def replace_tensors(model: PreTrainedModel, new: Callable[[Tensor], Tensor]) -> None:
    """Replace all parameters and buffers; those that are shared or tied stay so.

    Args:
        new: a tensor to its replacement, with the same shape and type.
    """
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if id(parameter) not in made:
                made[id(parameter)] = nn.Parameter(new(parameter), requires_grad=parameter.requires_grad)
            setattr(module, name, made[id(parameter)])
        for name, buffer in list(module.named_buffers(recurse=False, remove_duplicate=False)):
            setattr(module, name, new(buffer))
    model.tie_weights()  # tied ones are separate on the meta device


def random_like(tensor: Tensor) -> Tensor:
    """Small random numbers on the CPU; zeros for integers, which are positions in a table."""
    made = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
    return made.normal_(std=_SPREAD) if tensor.is_floating_point() else made.zero_()

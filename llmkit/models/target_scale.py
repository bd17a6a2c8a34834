"""The numbers of a regression: standardized in training, and in the unit of the rows in every file.

AdamW changes a weight by about the learning rate in each step, regardless of the scale of the numbers: a head that starts
near 0 does not reach numbers in the hundreds. So it learns numbers with mean 0 and standard deviation 1. Files have the
scale folded into the head, so that any library predicts the original numbers. A head that no bias shifts (Llama's) learns
numbers with a root mean square of 1 instead, which a factor alone turns into the original ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llmkit.errors import ModelError
from llmkit.models.loaded import LoadedModel
from llmkit.models.scale import TargetScale


def standardised(loaded: LoadedModel, scale: TargetScale) -> LoadedModel:
    """Prepare the model in place to learn standardized numbers.

    A trained head predicts the same numbers as before, on another scale; a new head keeps its random weights.
    """
    if not set(_parameters(loaded)) & set(loaded.new_weights):
        _rescale(loaded, scale.inverse)
    return replace(loaded, target_scale=scale)


@contextmanager
def in_target_units(loaded: LoadedModel) -> Iterator[LoadedModel]:
    """The model with its scale folded into the head; afterwards its weights are restored bit for bit."""
    if loaded.target_scale is None:
        yield loaded
        return
    before = head_tensors(loaded)
    _rescale(loaded, loaded.target_scale)
    try:
        yield replace(loaded, target_scale=None)
    finally:
        put_head(loaded, before)


def head_tensors(loaded: LoadedModel) -> dict[str, Tensor]:
    """Copies of the parameters that folding changes, by name, on the CPU."""
    return {name: loaded.model.get_parameter(name).detach().cpu().clone() for name in _parameters(loaded)}


def put_head(loaded: LoadedModel, tensors: Mapping[str, Tensor]) -> None:
    """Restore the result of `head_tensors`."""
    with torch.no_grad():
        for name in _parameters(loaded):
            loaded.model.get_parameter(name).copy_(tensors[name])


def has_offset(loaded: LoadedModel) -> bool:
    """Whether a bias can shift the head's output."""
    return _bias(loaded) is not None


def scaled_modules(loaded: LoadedModel) -> list[str]:
    """Names of the modules that the scale is folded into."""
    return [name.rpartition(".")[0] for name in _parameters(loaded)]


def _parameters(loaded: LoadedModel) -> list[str]:
    """Names of the head's weight (1, D), and of the bias that moves its output, if there is one."""
    bias = _bias(loaded)
    return [f"{loaded.family.output_modules[0]}.weight", *([] if bias is None else [bias])]


def _bias(loaded: LoadedModel) -> str | None:
    """The bias of the head, or of a norm directly before it: (1,) or (D,)."""
    modules = loaded.family.output_modules
    parameters = dict(loaded.model.named_parameters())
    name = f"{modules[-1]}.bias"
    if name not in parameters:
        return None
    width = parameters[f"{modules[0]}.weight"].shape[1]  # OPT-350m has a projection between norm and head
    return name if len(modules) == 1 or len(parameters[name]) == width else None


def _rescale(loaded: LoadedModel, scale: TargetScale) -> None:
    """Change the head so that its output is multiplied by `deviation`, plus `mean`. In float64, rounded once.

    Raises:
        ModelError: the head is 0 and has no bias.
    """
    model: PreTrainedModel = loaded.model
    weight, *biases = (model.get_parameter(name) for name in _parameters(loaded))
    with torch.no_grad():
        weight.copy_(weight.double() * scale.deviation)
        for bias in biases:
            if len(loaded.family.output_modules) == 1:
                bias.copy_(bias.double() * scale.deviation + scale.mean)
                return
            direction = weight[0].double()  # (D,)
            square = float(direction @ direction)
            if not square:
                raise ModelError(f"{loaded.name}: all weights of its head are 0, so it cannot predict a number.")
            bias.copy_(bias.double() + scale.mean / square * direction)  # the head maps the added vector to the mean

"""AdamW with decay on matrices only, rates by layer or by the size of a weight, and its state by parameter name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from llmkit.errors import RunError
from llmkit.models.layers import levels_from_top

_SCALE = "rate_scale"
"""A group's learning rate over the plan's."""
_SCALED = "scaled_by_size"
"""Whether that is multiplied by the root mean square of the group's only parameter."""
_SMALLEST = 1e-3
"""Minimum of the root mean square (Shazeer and Stern 2018, section 8)."""
_STATE = ("exp_avg", "exp_avg_sq", "step")


def adamw(model: nn.Module, *, weight_decay: float, layer_decay: float | None = None, scaled: bool = False) -> AdamW:
    """The learning rate is written into the groups before each step, see `set_learning_rate`.

    Args:
        scaled: multiply the rate of each parameter by its root mean square, as AdaFactor does (Shazeer and Stern
            2018, section 8) and nanoT5 with AdamW (Nawrot 2023, arXiv 2309.02373). T5 needs it: its embeddings spread
            by 1.0 and its projections by a sixteenth and less, and no single rate suits both.
        layer_decay: layer l of L learns at this to the power of L - l, as lower layers are more general
            (Howard and Ruder 2018, section 3.2; Clark et al. 2020, appendix B): the last layer and all above it at
            the full rate, embeddings as layer 0. None for the same rate everywhere.
    """
    distances = levels_from_top(model) if layer_decay is not None else {}
    groups: dict[tuple[object, ...], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = weight_decay if parameter.ndim >= 2 else 0.0
            scale = 1.0 if layer_decay is None else layer_decay ** distances[name]
            empty: dict[str, Any] = {"params": [], "weight_decay": decay, _SCALE: scale, _SCALED: scaled}
            key = (name,) if scaled else (decay, scale)  # one learning rate per group
            groups.setdefault(key, empty)["params"].append(parameter)
    return AdamW(list(groups.values()), lr=0.0, fused=True)  # one kernel for all parameters, on a CPU too


def optimizer_state(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """`NAME.exp_avg`, `NAME.exp_avg_sq`, `NAME.step` of every parameter that has taken a step."""
    return {
        f"{name}.{key}": optimizer.state[parameter][key].detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for key in _STATE
    }


def restore_optimizer(optimizer: Optimizer, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Restore the result of `optimizer_state`.

    Raises:
        RunError: the names or shapes do not match the model.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    expected = {f"{name}.{key}" for name in named for key in _STATE}
    if expected != state.keys():
        mismatched = sorted(expected ^ state.keys())
        raise RunError(f"the optimizer state does not belong to this model: {', '.join(mismatched[:5])}.")
    for name, parameter in named.items():
        restored = {key: state[f"{name}.{key}"] for key in _STATE}
        if restored["exp_avg"].shape != parameter.shape:
            raise RunError(
                f"the optimizer state of {name} has shape {tuple(restored['exp_avg'].shape)}, not {tuple(parameter.shape)}."
            )
        optimizer.state[parameter] = {
            "step": restored["step"].clone(),
            "exp_avg": restored["exp_avg"].to(parameter.device, copy=True),
            "exp_avg_sq": restored["exp_avg_sq"].to(parameter.device, copy=True),
        }
        if parameter.device.type == "cuda":  # the fused kernel needs the count on the same device
            optimizer.state[parameter]["step"] = restored["step"].to(parameter.device)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the rate of every group: `rate` times the group's share, and times its size where it is scaled."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[_SCALE]
        if group[_SCALED]:
            (parameter,) = group["params"]
            size = parameter.detach().float().square().mean().sqrt().clamp(min=_SMALLEST)
            group["lr"] = group["lr"] * size  # a tensor, to avoid a GPU synchronization

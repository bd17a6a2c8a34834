"""AdamW with decay on matrices only, rates by layer or by a weight's own size, and its state by parameter name."""

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
"""Whether that is multiplied by the root mean square of the group's one parameter."""
_SMALLEST = 1e-3
"""Root mean square below which a weight's size is no longer counted (Shazeer and Stern 2018, section 8)."""
_STATE = ("exp_avg", "exp_avg_sq", "step")


def adamw(model: nn.Module, *, weight_decay: float, layer_decay: float | None = None, scaled: bool = False) -> AdamW:
    """The learning rate is written into the groups before each step, see `set_learning_rate`.

    Args:
        scaled: multiply the rate of each parameter by its own root mean square, as AdaFactor does (Shazeer and Stern
            2018, section 8) and nanoT5 with AdamW (Nawrot 2023, arXiv 2309.02373). T5 needs it: its embeddings spread
            by 1.0 and its projections by a sixteenth and less, and no one rate suits both.
        layer_decay: layer l of L learns at this to the power of L - l, as deeper ones hold what is more general
            (Howard and Ruder 2018, section 3.2; Clark et al. 2020, appendix B): the last layer and all above it at
            the full rate, embeddings as layer 0. None for one rate.
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
    wanted = {f"{name}.{key}" for name in named for key in _STATE}
    if wanted != state.keys():
        odd = sorted(wanted ^ state.keys())
        raise RunError(f"the optimizer state does not belong to this model: {', '.join(odd[:5])}.")
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
        if parameter.device.type == "cuda":  # the fused kernel keeps the count beside the parameter
            optimizer.state[parameter]["step"] = restored["step"].to(parameter.device)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """`rate` is the head's; groups of lower layers may have a share of it, scaled groups multiply it by their size."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[_SCALE]
        if group[_SCALED]:
            (parameter,) = group["params"]
            size = parameter.detach().float().square().mean().sqrt().clamp(min=_SMALLEST)
            group["lr"] = group["lr"] * size  # a tensor, to avoid a GPU synchronization

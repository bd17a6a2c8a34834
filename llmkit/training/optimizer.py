"""AdamW with decay on matrices only, and its state by parameter name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from llmkit.errors import RunError

_STATE = ("exp_avg", "exp_avg_sq", "step")


def adamw(model: nn.Module, *, weight_decay: float) -> AdamW:
    """The learning rate is written into the groups before each step, see `lr_at`."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=0.0, fused=True)  # one kernel for all parameters, on a CPU too


def optimizer_state(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """`NAME.exp_avg`, `NAME.exp_avg_sq`, `NAME.step` of every parameter that has taken a step."""
    return {
        f"{name}.{key}": optimizer.state[parameter][key].detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for key in _STATE
    }


def restore_optimizer(optimizer: Optimizer, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_state` gave.

    Raises:
        RunError: the names or shapes are not those of the model.
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
    for group in optimizer.param_groups:
        group["lr"] = rate

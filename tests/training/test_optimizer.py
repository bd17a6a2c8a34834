from __future__ import annotations

import pytest
import torch
from builders import same_bits, tiny_model
from facts import facts
from torch import nn
from torch.optim import AdamW

from llmkit.errors import RunError
from llmkit.training.optimizer import adamw, optimizer_state, restore_optimizer, set_learning_rate


def stepped(model: nn.Module, optimizer: AdamW, *, steps: int = 3) -> None:
    """Steps with gradients of their own, fixed by the seed."""
    torch.manual_seed(7)
    set_learning_rate(optimizer, 1e-2)
    for _ in range(steps):
        for weight in model.parameters():
            weight.grad = torch.randn_like(weight)
        optimizer.step()


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_matrices_decay_and_vectors_do_not(family: str) -> None:
    model = tiny_model(family).model
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = adamw(model, weight_decay=0.5)
    set_learning_rate(optimizer, 0.1)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        factor = 1 - 0.1 * 0.5 if weight.ndim >= 2 else 1.0
        assert torch.allclose(weight, before[name] * factor, rtol=1e-6, atol=0), name


def test_a_scaled_step_is_a_share_of_each_weights_own_size() -> None:
    model = tiny_model("t5").model
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = adamw(model, weight_decay=0.0, scaled=True)
    set_learning_rate(optimizer, 1e-2)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)  # of which the first step of Adam is the rate itself
    optimizer.step()
    sizes = {name: weight.square().mean().sqrt().item() for name, weight in before.items()}
    assert max(sizes.values()) > 5 * min(sizes.values())
    for name, weight in model.named_parameters():
        assert torch.allclose(before[name] - weight, torch.full_like(weight, 1e-2 * sizes[name]), rtol=1e-3), name


def test_a_scaled_weight_of_zeros_still_learns() -> None:
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.bias)
    optimizer = adamw(model, weight_decay=0.0, scaled=True)
    set_learning_rate(optimizer, 1e-2)
    model.weight.grad, model.bias.grad = torch.ones(2, 3), torch.ones(2)
    optimizer.step()
    assert torch.allclose(model.bias, torch.full((2,), -1e-5), rtol=1e-3)


@pytest.mark.parametrize("scaled", [False, True])
def test_each_weight_is_in_one_group_and_frozen_ones_in_none(scaled: bool) -> None:
    model = tiny_model("t5").model
    frozen = model.shared.weight.requires_grad_(False)
    optimizer = adamw(model, weight_decay=0.1, scaled=scaled)
    grouped = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert len({id(weight) for weight in grouped}) == len(grouped)
    assert {id(weight) for weight in grouped} == {id(weight) for weight in model.parameters()} - {id(frozen)}


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_an_optimizer_restored_by_name_goes_on_as_the_first_would_have(family: str, scaled: bool) -> None:
    first, second = tiny_model(family).model, tiny_model(family).model
    optimizer = adamw(first, weight_decay=0.1, scaled=scaled)
    stepped(first, optimizer)
    state = optimizer_state(optimizer, first)
    second.load_state_dict(first.state_dict())
    restored = adamw(second, weight_decay=0.1, scaled=scaled)
    restore_optimizer(restored, second, dict(reversed(state.items())))
    assert same_bits(optimizer_state(restored, second), state)
    stepped(first, optimizer)
    stepped(second, restored)
    assert same_bits(dict(first.state_dict()), dict(second.state_dict()))


def test_a_restored_optimizer_does_not_write_into_what_it_was_given() -> None:
    model = tiny_model("bert").model
    optimizer = adamw(model, weight_decay=0.1)
    stepped(model, optimizer)
    state = {name: tensor.clone() for name, tensor in optimizer_state(optimizer, model).items()}
    given = {name: tensor.clone() for name, tensor in state.items()}
    restored = adamw(model, weight_decay=0.1)
    restore_optimizer(restored, model, given)
    stepped(model, restored)
    assert same_bits(given, state)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_a_state_that_does_not_belong_to_the_model_is_refused_by_name(fault: str) -> None:
    model = tiny_model("bert").model
    optimizer = adamw(model, weight_decay=0.1)
    stepped(model, optimizer)
    state = optimizer_state(optimizer, model)
    if fault == "missing":
        del state["classifier.bias.exp_avg"]
    elif fault == "unknown":
        state["classifier.scale.exp_avg"] = torch.zeros(3)
    else:
        state["classifier.bias.exp_avg"] = torch.zeros(4)
    wanted = {
        "missing": ["classifier.bias.exp_avg"],
        "unknown": ["classifier.scale.exp_avg"],
        "shape": ["classifier.bias", "(4,)", "(3,)"],
    }
    with pytest.raises(RunError, match=facts(*wanted[fault])):
        restore_optimizer(adamw(model, weight_decay=0.1), model, state)

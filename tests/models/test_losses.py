"""Legend: N positions, D hidden units, V vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from llmkit.models.losses import (
    IGNORED,
    cross_entropy_sum,
    label_smoothing,
    row_sums,
    vocabulary_loss_sum,
    vocabulary_losses,
)


def inputs(*shape: int, units: int = 8, vocabulary: int = 50, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, the head's weight, and labels of which a third is ignored."""
    torch.manual_seed(seed)
    hidden = torch.randn(*shape, units, requires_grad=True)
    weight = torch.randn(vocabulary, units, requires_grad=True)
    labels = torch.randint(vocabulary, shape).masked_fill(torch.rand(shape) < 0.33, IGNORED)
    return hidden, weight, labels


def plain(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None) -> Tensor:
    logits = functional.linear(hidden, weight, bias).reshape(-1, weight.shape[0])
    return functional.cross_entropy(logits, labels.reshape(-1), ignore_index=IGNORED, reduction="sum")


@pytest.mark.parametrize("shape", [(7,), (3, 5), (1, 1)])
def test_value_and_gradients_are_those_of_cross_entropy(shape: tuple[int, ...]) -> None:
    hidden, weight, labels = inputs(*shape)
    ours = vocabulary_loss_sum(hidden, weight, labels)
    theirs = plain(hidden, weight, labels)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    for mine, wanted in zip(
        torch.autograd.grad(ours / 3, (hidden, weight)), torch.autograd.grad(theirs / 3, (hidden, weight)), strict=True
    ):
        assert torch.allclose(mine, wanted, atol=1e-6)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (1, 1)])
def test_a_bias_has_the_value_and_the_gradients_of_cross_entropy(shape: tuple[int, ...]) -> None:
    hidden, weight, labels = inputs(*shape)
    bias = torch.randn(len(weight), requires_grad=True)
    ours, theirs = vocabulary_loss_sum(hidden, weight, labels, bias=bias), plain(hidden, weight, labels, bias)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert ours.item() != vocabulary_loss_sum(hidden, weight, labels).item()
    for mine, wanted in zip(
        torch.autograd.grad(ours / 3, (hidden, weight, bias)),
        torch.autograd.grad(theirs / 3, (hidden, weight, bias)),
        strict=True,
    ):
        assert torch.allclose(mine, wanted, atol=1e-6)


@pytest.mark.parametrize("vocabulary", [50, 1_100_000])  # the second in chunks of three positions
def test_the_losses_of_labels_are_those_of_cross_entropy_and_add_up_by_row(vocabulary: int) -> None:
    hidden, weight, labels = inputs(4, 3, vocabulary=vocabulary, units=2)
    labels[2] = IGNORED
    bias = torch.randn(vocabulary)
    losses = vocabulary_losses(hidden, weight, labels, bias)
    logits = functional.linear(hidden, weight, bias).flatten(0, 1)
    own = functional.cross_entropy(logits, labels.flatten(), ignore_index=IGNORED, reduction="none")
    assert not losses.requires_grad
    torch.testing.assert_close(losses, own[labels.flatten() != IGNORED].detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(row_sums(losses, labels), own.detach().view(4, 3).sum(dim=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trained", ["hidden", "weight", "bias"])
def test_one_of_the_inputs_may_be_the_only_one_that_is_trained(trained: str) -> None:
    """Where only the bias was, no gradient was made, and the backward pass failed."""
    hidden, weight, labels = inputs(6)
    given = {"hidden": hidden.detach(), "weight": weight.detach(), "bias": torch.randn(len(weight))}
    given[trained].requires_grad_(True)
    ours = vocabulary_loss_sum(given["hidden"], given["weight"], labels, bias=given["bias"])
    theirs = plain(given["hidden"], given["weight"], labels, given["bias"])
    [mine] = torch.autograd.grad(ours, given[trained])
    [wanted] = torch.autograd.grad(theirs, given[trained])
    assert torch.allclose(mine, wanted, atol=1e-6)


@pytest.mark.parametrize(("positions", "biased"), [(5, False), (6, True)])
def test_many_chunks_give_what_one_gives(positions: int, biased: bool) -> None:
    """A vocabulary of 1,500,000 leaves room for two positions at a time."""
    hidden, weight, labels = inputs(positions, units=2, vocabulary=1_500_000)
    bias = torch.randn(len(weight), requires_grad=True) if biased else None
    trained = (hidden, weight) if bias is None else (hidden, weight, bias)
    ours, theirs = vocabulary_loss_sum(hidden, weight, labels, bias=bias), plain(hidden, weight, labels, bias)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    for mine, wanted in zip(torch.autograd.grad(ours, trained), torch.autograd.grad(theirs, trained), strict=True):
        assert float((mine - wanted).abs().max()) < 1e-4 * float(wanted.abs().max())


def test_without_a_target_the_loss_and_its_gradients_are_zero() -> None:
    hidden, weight, labels = inputs(4)
    bias = torch.randn(len(weight), requires_grad=True)
    loss = vocabulary_loss_sum(hidden, weight, torch.full_like(labels, IGNORED), bias=bias)
    gradients = torch.autograd.grad(loss, (hidden, weight, bias))
    assert loss.item() == 0
    assert all(bool((gradient == 0).all()) for gradient in gradients)


def test_extreme_logits_stay_finite() -> None:
    hidden, weight, labels = inputs(6)
    loss = vocabulary_loss_sum(hidden * 1e4, weight, labels)
    assert torch.isfinite(loss)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in torch.autograd.grad(loss, (hidden, weight)))


def test_bf16_autocast_is_close_and_its_gradients_are_float32() -> None:
    hidden, weight, labels = inputs(40)
    bias = torch.randn(len(weight), requires_grad=True)
    trained = (hidden, weight, bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = vocabulary_loss_sum(hidden, weight, labels, bias=bias)
    theirs = plain(hidden, weight, labels, bias)
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-2)
    for mine, wanted in zip(torch.autograd.grad(ours, trained), torch.autograd.grad(theirs, trained), strict=True):
        assert mine.dtype == torch.float32
        assert functional.cosine_similarity(mine.flatten(), wanted.flatten(), dim=0) > 0.999


class Products(TorchDispatchMode):
    """Counts matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten.mm.default
        return func(*args, **(kwargs or {}))


def test_an_evaluation_does_not_pay_for_gradients() -> None:
    """Autograd says that a parameter needs its gradient even in inference mode."""
    hidden, weight, labels = inputs(6)
    with Products() as training:
        vocabulary_loss_sum(hidden, weight, labels)
    with Products() as evaluation, torch.no_grad():
        vocabulary_loss_sum(hidden, weight, labels)
    assert training.count == 3
    assert evaluation.count == 1


def test_a_head_of_classes_sums_in_float32_over_the_labels_that_count() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [9.0, 9.0]], dtype=torch.bfloat16)
    loss = cross_entropy_sum(logits, torch.tensor([0, 1, IGNORED]))
    wanted = torch.tensor(1 + torch.e**-2).log() + torch.tensor(2.0).log()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(wanted), rel=1e-6)


# ---- label smoothing


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("shape", [(7,), (3, 5)])
def test_a_smoothed_vocabulary_loss_has_the_value_and_the_gradients_of_torchs(
    shape: tuple[int, ...], with_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.models.losses._CHUNK_ELEMENTS", 150)  # three rows at a time
    hidden, weight, labels = inputs(*shape)
    bias = torch.randn(len(weight), requires_grad=True) if with_bias else None
    with label_smoothing(0.3):
        ours = vocabulary_loss_sum(hidden, weight, labels, bias=bias)
    logits = functional.linear(hidden, weight, bias).reshape(-1, weight.shape[0])
    theirs = functional.cross_entropy(
        logits, labels.reshape(-1), ignore_index=IGNORED, reduction="sum", label_smoothing=0.3
    )
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    trained = (hidden, weight) if bias is None else (hidden, weight, bias)
    for mine, wanted in zip(
        torch.autograd.grad(ours / 3, trained), torch.autograd.grad(theirs / 3, trained), strict=True
    ):
        assert torch.allclose(mine, wanted, atol=1e-6)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 1.0, 3.0])])
def test_a_smoothed_class_loss_is_torchs_sum(weights: Tensor | None) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, IGNORED, 3, 1])
    with label_smoothing(0.1):
        smoothed = cross_entropy_sum(logits, labels, weights)
    wanted = functional.cross_entropy(
        logits, labels, weight=weights, ignore_index=IGNORED, reduction="sum", label_smoothing=0.1
    )
    assert smoothed.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_smoothing_ends_with_its_block_even_by_an_error() -> None:
    hidden, weight, labels = inputs(6)
    plainly = vocabulary_loss_sum(hidden, weight, labels).item()
    with label_smoothing(0.5):
        assert vocabulary_loss_sum(hidden, weight, labels).item() != plainly
    with pytest.raises(KeyError), label_smoothing(0.5):
        raise KeyError
    assert vocabulary_loss_sum(hidden, weight, labels).item() == plainly


def test_a_frozen_matrix_gets_no_gradient_and_its_states_the_same() -> None:
    hidden, weight, labels = inputs(6)
    (wanted,) = torch.autograd.grad(vocabulary_loss_sum(hidden, weight, labels), hidden)
    weight.requires_grad_(False)
    vocabulary_loss_sum(hidden, weight, labels).backward()
    assert weight.grad is None
    assert torch.equal(hidden.grad, wanted)  # type: ignore[arg-type]  # it has one by now


def test_smoothing_spreads_over_the_outputs_that_are_possible() -> None:
    """With -inf at the padding of a passage, the share of a target that was spread there made the loss infinite."""
    torch.manual_seed(4)
    logits, labels = torch.randn(3, 5, requires_grad=True), torch.tensor([2, IGNORED, 4])
    padding = torch.full((3, 2), float("-inf"))
    with label_smoothing(0.2):
        alone, padded = cross_entropy_sum(logits, labels), cross_entropy_sum(torch.cat([logits, padding], 1), labels)
    assert padded.item() == pytest.approx(alone.item(), rel=1e-6)
    for mine, wanted in zip(torch.autograd.grad(padded, logits), torch.autograd.grad(alone, logits), strict=True):
        assert torch.allclose(mine, wanted, atol=1e-6)

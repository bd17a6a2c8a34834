"""Dropout from bytes, and attention swapped for training on a CPU.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from builders import FAMILY_OF, ONE_OF_EACH_FAMILY, TaskName, rows, same_bits, task_of, tiny_model
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from llmkit.models.cpu import ByteDropout, _attention, byte_dropout, speed_up_on_cpu
from llmkit.models.export import unique_tensors, weight_files
from llmkit.tasks.base import Batch, Task

COUNT = 200_000


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.25, 0.5, 0.9, 0.9999])
def test_zeros_come_at_the_rate_rounded_to_a_256th_and_the_mean_stays(rate: float) -> None:
    torch.manual_seed(11)
    dropped = byte_dropout(torch.ones(COUNT), rate=rate)
    rounded = max(1, min(255, round(rate * 256))) / 256
    zeros = int((dropped == 0).sum())
    deviation = math.sqrt(COUNT * rounded * (1 - rounded))
    assert abs(zeros - COUNT * rounded) < 5 * deviation
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / (1 - rounded)], rel=1e-6)
    assert abs(float(dropped.mean()) - 1) < 5 * deviation / COUNT / (1 - rounded)


@pytest.mark.parametrize("position", range(8))
def test_each_of_the_eight_bytes_of_a_word_drops_alike(position: int) -> None:
    torch.manual_seed(12)
    zeros = int((byte_dropout(torch.ones(COUNT), rate=0.25)[position::8] == 0).sum())
    assert abs(zeros - COUNT / 8 / 4) < 5 * math.sqrt(COUNT / 8 * 0.25 * 0.75)


def test_the_gradient_passes_through_the_same_mask_and_scale() -> None:
    hidden = torch.randn(3, 7, 5, requires_grad=True)
    dropped = byte_dropout(hidden, rate=0.3)
    dropped.backward(torch.ones_like(dropped))
    assert torch.allclose(hidden.grad * hidden, dropped)  # type: ignore[operator]  # a leaf has its gradient
    assert ((hidden.grad == 0) == (dropped == 0)).all()


def test_the_mask_is_fixed_by_torchs_seed() -> None:
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(byte_dropout(torch.ones(1001), rate=0.3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero() -> None:
    hidden = torch.randn(50)
    assert torch.equal(ByteDropout(0.5).eval()(hidden), hidden)
    assert torch.equal(ByteDropout(0.0).train()(hidden), hidden)
    assert not torch.equal(ByteDropout(0.5).train()(hidden), hidden)


def test_bf16_stays_bf16() -> None:
    assert byte_dropout(torch.ones(9, dtype=torch.bfloat16), rate=0.5).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_swapped_attention_without_dropout_gives_the_loss_and_gradients_of_sdpa(name: TaskName) -> None:
    original, swapped = task_of(name), task_of(name)
    speed_up_on_cpu(swapped.loaded.model)
    batch = original.collate(examples := original.encode(rows(6)), np.arange(len(examples)))
    assert not batch["attention_mask"].all()  # padding is masked alike
    losses = []
    for task in (original, swapped):
        task.loaded.model.train()
        losses.append(task.loss_sum(batch))
        losses[-1].backward()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-6)
    wanted = {key: weight.grad for key, weight in original.loaded.model.named_parameters()}
    for key, weight in swapped.loaded.model.named_parameters():
        assert torch.allclose(weight.grad, wanted[key], atol=2e-5), key


@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_attention_with_dropout_that_draws_nothing_is_sdpa_times_its_scale(name: TaskName, padded: bool) -> None:
    """On the very arguments that the family's model passes."""
    calls: list[dict[str, Any]] = []

    def recorder(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any) -> Any:
        calls.append({"module": module, "query": query, "key": key, "value": value, "attention_mask": mask, **more})
        return sdpa_attention_forward(module, query, key, value, mask, **{**more, "dropout": 0.0})

    AttentionInterface.register("recorder", recorder)
    AttentionMaskInterface.register("recorder", sdpa_mask)
    task = task_of(name, dropout=0.1, **({"prefix": ""} if name == "summarization" else {}))
    task.loaded.model.set_attn_implementation("recorder")
    task.loaded.model.train()
    examples = task.encode(rows())
    shortest = np.argsort(examples.lengths, kind="stable")
    different = [
        shortest[0],
        next(index for index in shortest if examples.lengths[index] > examples.lengths[shortest[0]]),
    ]
    task.loss_sum(task.collate(examples, np.array(different) if padded else shortest[:1]))
    assert len(calls) == (3 if name == "summarization" else 1)
    for call in calls:
        dropout = call.pop("dropout")
        assert dropout == pytest.approx(0.1)
        wanted, _ = sdpa_attention_forward(**call, dropout=0.0)
        found, _ = _attention(**call, dropout=seed_that_drops_nothing(call))
        assert torch.allclose(found * 255 / 256, wanted, atol=1e-5)


def seed_that_drops_nothing(call: dict[str, Any]) -> float:
    """Seed torch so that the lowest rate, 1 of 256, drops none of the attention weights; gives that rate."""
    rate = 1 / 256
    weights = torch.ones(*call["query"].shape[:3], call["key"].shape[2])
    for seed in range(1000):
        torch.manual_seed(seed)
        if bool(byte_dropout(weights, rate=rate).all()):
            torch.manual_seed(seed)
            return rate
    raise AssertionError("1000 seeds all drop something")


@pytest.mark.parametrize("family", sorted(set(FAMILY_OF.values()) - {"bart"}))  # which has no such modules
def test_swapping_changes_neither_weights_nor_names_nor_what_is_saved(family: str) -> None:
    model = tiny_model(family, dropout=0.1).model
    before, saved = unique_tensors(model), weight_files(model)
    speed_up_on_cpu(model)
    assert same_bits(unique_tensors(model), before)
    assert weight_files(model) == saved
    assert not any(type(module) is nn.Dropout for module in model.modules())
    assert any(isinstance(module, ByteDropout) and module.p == 0.1 for module in model.modules())


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_swapped_dropout_really_drops_in_training_and_not_in_evaluation(name: TaskName) -> None:
    task = task_of(name, dropout=0.3)
    model = task.loaded.model.train()
    batch = task.collate(examples := task.encode(rows(4)), np.arange(len(examples)))
    plain = task_of(name, dropout=0.3)
    speed_up_on_cpu(model)
    with torch.no_grad():
        assert task.loss_sum(batch).item() != pytest.approx(plain_loss(plain, batch), rel=1e-4)
        model.eval()
        assert task.loss_sum(batch).item() == pytest.approx(plain_loss(plain, batch), rel=1e-6)


def plain_loss(task: Task, batch: Batch) -> float:
    task.loaded.model.eval()
    return task.loss_sum(batch).item()

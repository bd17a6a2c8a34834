"""Adapters, rates by layer, smoothed labels and recomputed activations, in a training: it goes on where it stopped,
and what it measures is not touched.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapted import adapted, saved
from builders import (
    FAMILY_OF,
    ONE_OF_EACH_FAMILY,
    TaskName,
    Trained,
    largest_difference,
    rows,
    same_bits,
    store_in,
    task_of,
    tiny_model,
    train,
    without_key_biases,
)
from facts import facts
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional

from llmkit.errors import InterruptedRun, ModelError
from llmkit.models.export import unique_tensors
from llmkit.models.layers import levels_from_top
from llmkit.models.loading import load_model
from llmkit.models.losses import IGNORED
from llmkit.tasks.base import Task
from llmkit.tasks.target_counts import count_targets
from llmkit.training.checkpoints import CheckpointStore
from llmkit.training.optimizer import adamw, set_learning_rate
from llmkit.training.progress import Evaluated

TOTAL = 4


def run(task: Task, store: CheckpointStore | None = None, **more: Any) -> Trained:
    return train(task, steps=TOTAL, batch_size=12, micro_batch_tokens=50, store=store, **more)


def interrupted(task: Task, store: CheckpointStore, *, at: int, **more: Any) -> None:
    numbers: Iterator[int | None] = iter([None] * (at - 1) + [signal.SIGTERM])
    with pytest.raises(InterruptedRun):
        run(task, store, stop_signal=lambda: next(numbers), **more)


def weights(task: Task) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in unique_tensors(task.loaded.model).items()}


# ---- adapters


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_an_adapter_resumed_is_one_uninterrupted_bit_for_bit(name: TaskName, tmp_path: Path) -> None:
    def begun() -> Task:
        return task_of(name, loaded=adapted(name, tmp_path / "base", dropout=0.2, lora_dropout=0.1, layers=1))

    whole = run(begun(), store_in(tmp_path / "whole"))
    store = store_in(tmp_path / "resumed")
    interrupted(begun(), store, at=2)
    checkpoint = store.newest()
    assert checkpoint is not None
    loaded = load_model(str(checkpoint.folder), head=task_of(name).recipe.HEAD, keep_adapter=True)
    resumed = run(task_of(name, loaded=loaded), store, resume=checkpoint)
    assert same_bits(resumed.weights, whole.weights)
    last, wanted = store.at_step(TOTAL), store_in(tmp_path / "whole").at_step(TOTAL)
    assert last.manifest["files"].keys() == wanted.manifest["files"].keys()
    for file in ("adapter_model.safetensors", "optimizer.safetensors", "trainer_state.json"):
        assert last.read(file) == wanted.read(file), file


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_training_an_adapter_leaves_the_base_as_it_was(name: TaskName, tmp_path: Path) -> None:
    task = task_of(name, loaded=adapted(name, tmp_path / "base"))
    before = weights(task)
    after = run(task).weights
    moved = {one for one in before if not torch.equal(before[one], after[one])}
    assert moved == {one for one in before if ".lora_" in one or one.startswith("classifier.")}


def test_a_checkpoint_of_an_adapter_has_nothing_of_the_base(tmp_path: Path) -> None:
    task = task_of("classification", loaded=adapted("classification", tmp_path / "base"))
    store = store_in(tmp_path / "checkpoints")
    run(task, store)
    checkpoint = store.at_step(TOTAL)
    trained = {name for name, parameter in task.loaded.model.named_parameters() if parameter.requires_grad}
    states = {f"{name}.{key}" for name in trained for key in ("exp_avg", "exp_avg_sq", "step")}
    assert load(checkpoint.read("optimizer.safetensors")).keys() == states
    assert len(load(checkpoint.read("adapter_model.safetensors"))) == len(trained)
    assert "model.safetensors" not in checkpoint.manifest["files"]


def test_an_adapter_does_not_go_on_from_another_base(tmp_path: Path) -> None:
    store = store_in(tmp_path / "checkpoints")
    run(task_of("causal-lm", loaded=adapted("causal-lm", tmp_path / "base")), store)
    saved(tiny_model("gpt2", layers=2, seed=8), tmp_path / "base")
    with pytest.raises(ModelError, match=facts(str(tmp_path / "base"), "weights")):
        load_model(str(store.at_step(TOTAL).folder), head="causal-lm", keep_adapter=True)


# ---- rates by layer


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_a_layer_learns_at_the_decay_to_the_power_of_its_distance_from_the_top(name: TaskName) -> None:
    model = tiny_model(FAMILY_OF[name], layers=3).model
    optimizer = adamw(model, weight_decay=0.01, layer_decay=0.5)
    set_learning_rate(optimizer, 0.8)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    levels = levels_from_top(model)
    for one, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.8 * 0.5 ** levels[one]), one
    assert sorted(set(rates.values())) == pytest.approx([0.1, 0.2, 0.4, 0.8])
    decayed = {id(one) for group in optimizer.param_groups if group["weight_decay"] for one in group["params"]}
    assert decayed == {id(one) for one in model.parameters() if one.ndim >= 2}


def test_without_clipping_a_first_step_is_as_large_as_its_layers_rate() -> None:
    """Adam's first step has the size of the rate: its gradient cancels out."""
    task = task_of("classification", loaded=tiny_model("bert", layers=2))
    before = weights(task)
    after = train(task, steps=1, keys={"layer_decay": 0.1, "weight_decay": 0.0}).weights

    def step(name: str) -> float:
        return float((after[name] - before[name]).abs().median())

    assert step("classifier.weight") == pytest.approx(1e-2, rel=0.1)
    assert step("bert.encoder.layer.1.output.dense.weight") == pytest.approx(1e-2, rel=0.1)
    assert step("bert.encoder.layer.0.output.dense.weight") == pytest.approx(1e-3, rel=0.1)
    assert step("bert.embeddings.token_type_embeddings.weight") <= 1.1e-4


@pytest.mark.parametrize("keys", [{"layer_decay": 0.5}, {"optimizer": "adamw-scaled"}])
def test_rates_of_their_own_resumed_are_those_uninterrupted(tmp_path: Path, keys: dict[str, object]) -> None:
    whole = run(task_of("classification", dropout=0.2), keys=keys)
    store = store_in(tmp_path / "resumed")
    interrupted(task_of("classification", dropout=0.2), store, at=2, keys=keys)
    checkpoint = store.newest()
    assert checkpoint is not None
    loaded = load_model(str(checkpoint.folder), head="classification")
    resumed = run(task_of("classification", loaded=loaded), store, resume=checkpoint, keys=keys)
    assert same_bits(resumed.weights, whole.weights)
    assert not same_bits(whole.weights, run(task_of("classification", dropout=0.2)).weights)


# ---- smoothed labels


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_the_training_loss_is_smoothed_and_the_validation_loss_is_not(name: TaskName) -> None:
    task = task_of(name)
    batch = task.collate(task.encode(rows(9)), np.arange(min(8, len(task.encode(rows(9))))))
    trained = train(task, steps=1, count=9, batch_size=100, keys={"label_smoothing": 0.2})
    evaluated = next(event for event in trained.events if isinstance(event, Evaluated))
    with torch.no_grad():
        plain = float(task.loss_sum(batch)) / count_targets(batch)
    assert evaluated.scores.values["loss"] == pytest.approx(plain, rel=1e-6)
    fresh = task_of(name)
    everything = fresh.collate(fresh.encode(rows(9)), np.arange(len(fresh.encode(rows(9)))), epoch=0)
    inputs = {one: tensor for one, tensor in everything.items() if one != "labels" or fresh.recipe.HEAD == "seq2seq-lm"}
    with torch.no_grad():
        logits = fresh.loaded.model.eval()(**inputs).logits
    wanted = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]),
        everything["labels"].reshape(-1),
        ignore_index=IGNORED,
        label_smoothing=0.2,
    )
    assert trained.steps[0].loss == pytest.approx(float(wanted), rel=1e-5)


# ---- recomputed activations


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_recomputing_activations_changes_no_loss_and_no_weight(name: TaskName, dropout: float) -> None:
    def trained(keys: dict[str, Any]) -> Trained:
        model = tiny_model(FAMILY_OF[name], dropout=dropout, layers=2)
        return train(without_key_biases(task_of(name, loaded=model)), steps=2, count=16, keys=keys)

    kept, recomputed = trained({}), trained({"gradient_checkpointing": True})
    assert recomputed.steps[0].loss == kept.steps[0].loss
    assert [step.loss for step in recomputed.steps] == pytest.approx([step.loss for step in kept.steps], rel=1e-5)
    # Layers that share a bias of positions (T5) add up its gradient in another order.
    assert largest_difference(recomputed.weights, kept.weights) < 1e-4  # 3.4e-5 on one CPU, less on others


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_recomputing_keeps_fewer_activations(name: TaskName) -> None:
    def kept_elements(*, recompute: bool) -> int:
        from llmkit.models.layers import recompute_activations

        model = tiny_model(FAMILY_OF[name], head=task_of(name).recipe.HEAD, layers=3)
        task = task_of(name, loaded=model)
        batch = task.collate(task.encode(rows(20)), np.arange(8))
        if recompute:
            recompute_activations(model.model)
        model.model.train()
        elements = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal elements
            elements += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            task.loss_sum(batch)
        return elements

    assert kept_elements(recompute=True) < 0.6 * kept_elements(recompute=False)


def test_an_adapter_learns_the_same_with_recomputed_activations(tmp_path: Path) -> None:
    """With frozen embeddings no input of the first layer asks for a gradient."""
    kept = run(task_of("causal-lm", loaded=adapted("causal-lm", tmp_path / "base")))
    again = run(
        task_of("causal-lm", loaded=adapted("causal-lm", tmp_path / "base")), keys={"gradient_checkpointing": True}
    )
    assert same_bits(again.weights, kept.weights)
    assert [step.gradient_norm for step in again.steps] == [step.gradient_norm for step in kept.steps]
    assert kept.steps[0].gradient_norm > 0

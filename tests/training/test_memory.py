"""A step for which memory does not suffice is computed again from its start, in smaller micro-batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from builders import TASK_NAMES, TaskName, largest_difference, same_bits, store_in, task_of, train, without_key_biases
from facts import facts, logged
from narrow_memory import CUDA, Failure, narrow

from llmkit.errors import MachineError, is_out_of_memory
from llmkit.training.progress import MicroBatchesReduced

CPU: Failure = lambda: RuntimeError(  # noqa: E731
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
)
WINDOWS: Failure = lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:80] DefaultCPUAllocator: not enough memory")  # noqa: E731
NUMPY: Failure = MemoryError


@pytest.mark.parametrize("name", TASK_NAMES)
def test_the_update_of_a_step_computed_again_is_that_of_the_whole_step(name: TaskName) -> None:
    narrowed = without_key_biases(task_of(name))
    failed = narrow(narrowed, rows=5, backward=True)
    trained = train(narrowed, steps=3)
    assert failed
    whole = train(without_key_biases(task_of(name)), steps=3)
    assert largest_difference(trained.weights, whole.weights) < 2e-4
    assert [step.loss for step in trained.steps] == pytest.approx([step.loss for step in whole.steps], rel=1e-4)
    assert [step.targets for step in trained.steps] == [step.targets for step in whole.steps]


@pytest.mark.parametrize("failure", [CUDA, CPU, WINDOWS, NUMPY])
@pytest.mark.parametrize("backward", [False, True])
def test_every_allocator_s_error_makes_the_micro_batches_smaller(
    failure: Failure, backward: bool, caplog: pytest.LogCaptureFixture
) -> None:
    task = task_of("classification")
    failed = narrow(task, rows=8, failure=failure, backward=backward)
    trained = train(task, steps=4, micro_batch_tokens=400)
    reduced = [event for event in trained.events if isinstance(event, MicroBatchesReduced)]
    assert [event.step for event in reduced] == [1] * len(reduced)  # later steps start with the smaller size
    assert len(failed) >= len(reduced) >= 1
    assert len(logged(caplog, "WARNING", "memory", "step 1", reduced[-1].micro_batch_tokens)) == 1


def test_other_errors_are_not_a_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("not enough memory"))
    task = task_of("classification")
    narrow(task, rows=0, failure=lambda: RuntimeError("shapes"))
    with pytest.raises(RuntimeError, match="shapes"):
        train(task, steps=1)


@pytest.mark.parametrize("failure", [CUDA, CPU, NUMPY])
def test_one_row_that_does_not_fit_is_an_error_with_its_size(failure: Failure, tmp_path: Path) -> None:
    task = task_of("causal-lm")
    before = {name: tensor.clone() for name, tensor in task.loaded.model.state_dict().items()}
    narrow(task, rows=0, failure=failure)
    store = store_in(tmp_path / "checkpoints")
    with pytest.raises(MachineError, match=facts("step 1", "batch of 1 x 12 tokens", "max_tokens")) as caught:
        train(task, steps=2, save_every=1, store=store)
    assert caught.value.exit_code == 5
    assert not store.published()
    assert same_bits(task.loaded.model.state_dict(), before)
    assert all(parameter.grad is None for parameter in task.loaded.model.parameters())


def test_an_evaluation_that_does_not_fit_is_an_error_with_its_step() -> None:
    task = task_of("classification")

    def check(module: torch.nn.Module, arguments: object) -> None:
        if not module.training:
            raise MemoryError

    task.loaded.model.get_input_embeddings().register_forward_pre_hook(check)
    with pytest.raises(MachineError, match=facts("memory", "evaluation", "step 2")):
        train(task, steps=4, evaluate_every=2)

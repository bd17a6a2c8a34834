"""The memory of a training: every task and family has its activations, and a CPU's heap has gaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import TASK_NAMES, TaskName, model_for, recipe_of, rows, task_of

from llmkit.planning.cpu_peak import StepMemory, cpu_peak
from llmkit.planning.heap import Heap
from llmkit.planning.live_memory import LiveBytes
from llmkit.planning.memory import Memory, needed_memory
from llmkit.training.precision import Precision

TINY_FAMILIES = (
    "albert", "bart", "bert", "deberta", "distilbert", "electra", "gpt2", "lstm", "modernbert", "mpnet", "roberta", "t5",
)  # fmt: skip
PAIRS = [(name, family) for name in TASK_NAMES for family in recipe_of(name).FAMILIES if family in TINY_FAMILIES]
MIB = 2**20


def memory_of(name: TaskName, family: str) -> Memory:
    task = task_of(name, loaded=model_for(name, family=family, dropout=0.1))
    examples = task.encode(rows(8))
    saved = 3 * sum(parameter.nbytes for parameter in task.loaded.model.parameters())
    return needed_memory(
        task,
        examples,
        [[np.arange(4)]],
        train=task.recipe.train,
        precision=Precision(format="fp32", reason=""),
        device=torch.device("cpu"),
        saved_bytes=saved,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_activations_are_planned(name: TaskName, family: str) -> None:
    assert memory_of(name, family).activations


def test_a_fault_of_a_task_is_not_taken_for_memory_that_cannot_be_planned() -> None:
    task = task_of("classification")
    examples = task.encode(rows(8))
    with pytest.raises(RuntimeError, match="must match"):
        needed_memory(
            _Faulty(task),  # type: ignore[arg-type]
            examples,
            [[np.arange(4)]],
            train=task.recipe.train,
            precision=Precision(format="fp32", reason=""),
            device=torch.device("cpu"),
            saved_bytes=0,
        )


class _Faulty:
    """A task whose loss adds tensors of different sizes."""

    def __init__(self, task: object) -> None:
        self._task = task

    def __getattr__(self, name: str) -> object:
        return getattr(self._task, name)

    def loss_sum(self, batch: object) -> torch.Tensor:
        return torch.zeros(3) + torch.zeros(4)


def test_a_freed_chunk_has_no_room_for_a_tensor_of_its_size_between_others() -> None:
    heap = Heap()
    first = heap.allocate_tensor(MIB)
    heap.allocate_tensor(64)
    heap.release(first)
    before = heap.peak
    heap.allocate_tensor(MIB)
    assert heap.peak > before + MIB // 2
    heap.allocate_tensor(MIB // 2)
    assert heap.peak < before + 2 * MIB


def test_neighbouring_free_chunks_are_one() -> None:
    heap = Heap()
    first, second = heap.allocate(MIB), heap.allocate(MIB)
    heap.allocate(64)
    heap.release(first)
    heap.release(second)
    before = heap.peak
    heap.allocate(2 * MIB)
    assert heap.peak == before


def test_memory_freed_at_the_end_is_used_again() -> None:
    heap = Heap()
    for _ in range(5):
        heap.release(heap.allocate(MIB))
    assert MIB < heap.peak < MIB + 64


def test_saving_counts_only_where_it_finds_no_room_after_the_steps() -> None:
    step = StepMemory([(1, 8 * MIB), (2, MIB), (1, -8 * MIB)], [(2, -MIB)], 9 * MIB)
    none, small, large = (
        cpu_peak([MIB], [MIB], [step], model_file=size, optimizer_file=2 * size) for size in (0, MIB // 4, 20 * MIB)
    )
    assert none == small
    assert large > none + 50 * MIB


def test_the_exponentials_of_a_logsumexp_are_counted() -> None:
    given = torch.zeros(4, 1000)
    with LiveBytes([given]) as live:
        given.logsumexp(dim=1)
    assert live.peak == 4 * 1000 * 4 + 4 * 4
    assert sum(size for _, size in live.allocations) == live.now == 0


def test_blocks_are_rounded_up() -> None:
    given = torch.zeros(1)
    with LiveBytes([given], rounded_to=512) as live:
        kept = given + 1
        assert live.now == 512
        del kept
    assert live.now == 0

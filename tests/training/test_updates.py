"""One step is the same update however it is cut: into micro-batches, over processes, beside evaluation and saving.

Legend: B batch, T tokens.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from builders import (
    BATCH_SIZE,
    TASK_NAMES,
    TaskName,
    largest_difference,
    rows,
    same_bits,
    store_in,
    task_of,
    train,
    without_key_biases,
)
from detection import detection_loss_sum
from facts import facts, logged
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from llmkit.data.examples import Examples, Ragged
from llmkit.data.order import Indices, batch_of_step, cut_by_tokens
from llmkit.data.rows import Row
from llmkit.errors import DivergedError, MachineError
from llmkit.evaluation.measure import measure
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.export import unique_tensors
from llmkit.models.losses import IGNORED
from llmkit.tasks.base import Batch, Task
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.pretraining.replaced_tokens import ReplacedTokenTask
from llmkit.tasks.target_counts import count_targets
from llmkit.training.optimizer import adamw
from llmkit.training.step import LossModule, Stepper

SMALL_MICRO_BATCH = 40
"""Tokens: cuts a batch of the builders' rows into eight parts or so."""


def stepper_of(task: Task, *, micro_batch_tokens: int = 1_000_000, examples: Examples | None = None) -> Stepper:
    accelerator = Accelerator(cpu=True)
    module, optimizer = accelerator.prepare(LossModule(task), adamw(task.loaded.model, weight_decay=0.01))
    return Stepper(
        task=task,
        examples=examples or task.encode(rows()),
        module=module,
        optimizer=optimizer,
        accelerator=accelerator,
        batch_size=BATCH_SIZE,
        max_grad_norm=None,
        micro_batch_tokens=micro_batch_tokens,
        seed=17,
    )


def gradients(task: Task) -> dict[str, Tensor]:
    return {
        name: weight.grad.clone() for name, weight in task.loaded.model.named_parameters() if weight.grad is not None
    }


def rounding(task: Task) -> float:
    """A millionth of the largest gradient, or of 1."""
    return 1e-6 * max(1.0, *(float(gradient.abs().max()) for gradient in gradients(task).values()))


def mean_loss_of_transformers(task: Task, batch: Batch) -> Tensor:
    """Nats per target by the model's own head over all positions, without any code of ours."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    labels = batch["labels"]
    if isinstance(task, ReplacedTokenTask):
        return detection_loss_sum(task, batch) / count_targets(batch)
    if task.recipe.HEAD == "question-answering":
        output = task.loaded.model(**inputs)
        padding = (1 - batch["attention_mask"]) * 1e9
        logits = torch.stack([output.start_logits - padding, output.end_logits - padding], dim=1)  # (B, 2, T)
    elif task.recipe.task == "multiple-choice":
        shape = {name: inputs.pop(name) for name in ("choices", "answers")}
        scores = task.loaded.model(**inputs).logits[:, 0].split(shape["choices"].tolist())
        wanted = shape["answers"].tolist()
        return sum(-row.log_softmax(0)[index] for row, index in zip(scores, wanted, strict=True)) / len(wanted)
    elif task.recipe.HEAD == "seq2seq-lm":
        logits = task.loaded.model(**inputs, labels=labels).logits
    else:
        logits = task.loaded.model(**inputs).logits
    return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), ignore_index=IGNORED)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_gradients_of_many_micro_batches_are_those_of_one(name: TaskName) -> None:
    whole, cut = stepper_of(task_of(name)), stepper_of(task_of(name), micro_batch_tokens=SMALL_MICRO_BATCH)
    assert len(cut._micro_batches(0)[0]) >= 6
    nats, totals = whole._accumulate(0)
    cut_nats, cut_totals = cut._accumulate(0)
    assert cut_totals[:2] == totals[:2]  # targets and tokens; padding differs
    assert cut_nats == pytest.approx(nats, rel=1e-6)
    assert largest_difference(gradients(cut.task), gradients(whole.task)) < rounding(whole.task)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_short_last_batch_weighs_its_own_targets(name: TaskName) -> None:
    whole, cut = stepper_of(task_of(name)), stepper_of(task_of(name), micro_batch_tokens=SMALL_MICRO_BATCH)
    last = -(-len(whole.examples) // BATCH_SIZE) - 1
    assert len(batch_of_step(last, count=len(whole.examples), batch_size=BATCH_SIZE, seed=17)) < BATCH_SIZE
    whole._accumulate(last)
    cut._accumulate(last)
    assert largest_difference(gradients(cut.task), gradients(whole.task)) < rounding(whole.task)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_weights_after_four_steps_of_1x32_and_of_many_parts_are_the_same(name: TaskName) -> None:
    whole = train(without_key_biases(task_of(name)), steps=4)
    cut = train(without_key_biases(task_of(name)), steps=4, micro_batch_tokens=SMALL_MICRO_BATCH)
    assert largest_difference(cut.weights, whole.weights) < 5e-5  # 3.5e-5 in multiple-choice, less in the others
    untrained = unique_tensors(task_of(name).loaded.model)
    assert largest_difference(whole.weights, untrained) > 1e-3
    assert [step.loss for step in cut.steps] == pytest.approx([step.loss for step in whole.steps], rel=1e-5)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_step_has_the_gradient_of_the_mean_loss_over_all_its_targets(name: TaskName) -> None:
    stepper = stepper_of(task_of(name), micro_batch_tokens=SMALL_MICRO_BATCH)
    nats, (targets, _, _) = stepper._accumulate(0)
    plain = task_of(name)
    indices = batch_of_step(0, count=len(stepper.examples), batch_size=BATCH_SIZE, seed=17)
    loss = mean_loss_of_transformers(plain, plain.collate(stepper.examples, indices, epoch=0))
    loss.backward()
    assert nats / targets == pytest.approx(float(loss.detach()), rel=1e-6)
    assert largest_difference(gradients(stepper.task), gradients(plain)) < rounding(plain)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_the_reported_loss_is_nats_per_target_of_the_whole_step(name: TaskName) -> None:
    task = task_of(name)
    examples = task.encode(rows())
    indices = batch_of_step(0, count=len(examples), batch_size=BATCH_SIZE, seed=17)
    batch = task.collate(examples, indices, epoch=0)
    with torch.no_grad():
        loss = float(mean_loss_of_transformers(task, batch))
    reported = train(task, steps=1, micro_batch_tokens=SMALL_MICRO_BATCH).steps[0]
    assert reported.loss == pytest.approx(loss, rel=1e-6)
    assert reported.targets == count_targets(batch)


def test_clipping_acts_on_the_gradient_of_the_whole_step() -> None:
    whole = train(without_key_biases(task_of("causal-lm")), steps=2, max_grad_norm=0.01)
    cut = train(
        without_key_biases(task_of("causal-lm")), steps=2, max_grad_norm=0.01, micro_batch_tokens=SMALL_MICRO_BATCH
    )
    assert whole.steps[0].gradient_norm > 0.01  # reported before clipping
    assert largest_difference(cut.weights, whole.weights) < 2e-5


# ---- several processes


@pytest.mark.slow
def test_two_processes_of_16_give_the_same_update_as_one_of_32(tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_processes.py")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(
        [sys.executable, *launcher, str(script), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    for name, batch_size in product(
        TASK_NAMES, (32, 1)
    ):  # 1: the second process has no share, and must still take part
        task = without_key_biases(task_of(name))
        alone = train(task, steps=4, batch_size=batch_size, micro_batch_tokens=SMALL_MICRO_BATCH)
        both = [load_file(tmp_path / f"{name}-{batch_size}-{rank}.safetensors") for rank in range(2)]
        assert same_bits(both[0], both[1])
        assert largest_difference(both[0], alone.weights) < 2e-5
        if batch_size == 32:
            check_losses_of_rows(tmp_path, task)
    check_memory_of_one_process(tmp_path)


def check_losses_of_rows(folder: Path, task: Task) -> None:
    """Both processes know the losses of all rows, as one alone does."""
    examples = task.encode(rows())
    engine = TransformersEngine(task.loaded, device=torch.device("cpu"))
    alone = measure(task, examples, engine=engine, accelerator=Accelerator(cpu=True)).losses
    for rank in range(2):
        both = np.load(folder / f"{task.recipe.task}-losses-{rank}.npz")
        np.testing.assert_array_equal(both["targets"], alone.targets)
        np.testing.assert_allclose(both["nats"], alone.nats, rtol=1e-3, atol=1e-3)


def check_memory_of_one_process(folder: Path) -> None:
    """A lack of memory in one process makes the micro-batches of both smaller, or stops both."""
    sizes = [json.loads((folder / f"memory-{rank}.json").read_text()) for rank in range(2)]
    assert sizes[0] == sizes[1] != []
    both = [load_file(folder / f"memory-{rank}.safetensors") for rank in range(2)]
    assert same_bits(both[0], both[1])
    assert largest_difference(both[0], train(without_key_biases(task_of("classification")), steps=4).weights) < 2e-5
    faults = [(folder / f"memory-{rank}.txt").read_text() for rank in range(2)]
    assert faults[0] == faults[1]
    assert re.search(facts("step 1", "batch of 1 x", "tokens"), faults[0])


# ---- what counts in the loss


def test_end_of_text_is_a_target_of_a_language_model() -> None:
    task = task_of("causal-lm")
    examples = task.encode(rows(5))
    labels = task.collate(examples, np.arange(len(examples)))["labels"]
    assert int((labels == task.loaded.tokenizer.eos_token_id).sum()) == 5


def test_end_of_text_is_a_target_of_a_summary() -> None:
    task = task_of("summarization")
    labels = task.collate(task.encode(rows(5)), np.arange(5))["labels"]  # (B, T)
    assert int((labels == task.loaded.tokenizer.eos_token_id).sum()) == 5


@pytest.mark.parametrize("name", [name for name in TASK_NAMES if name != "span-corruption"])  # it has no padding
def test_padding_never_counts_as_a_target_and_never_changes_loss_or_gradient(name: TaskName) -> None:
    together, alone = task_of(name), task_of(name)
    examples = together.encode(rows(9))
    every = np.arange(len(examples))
    assert len(set(examples.lengths.tolist())) > 1
    singles = [alone.collate(examples, every[[index]]) for index in every]
    batch = together.collate(examples, every)
    assert count_targets(batch) == sum(map(count_targets, singles))
    loss = together.loss_sum(batch)
    loss.backward()
    parts = [alone.loss_sum(single) for single in singles]
    torch.stack(parts).sum().backward()
    assert float(loss.detach()) == pytest.approx(sum(float(part.detach()) for part in parts), rel=1e-6)
    assert largest_difference(gradients(together), gradients(alone)) < 2e-5


def test_every_token_but_the_first_is_a_target_once_in_packed_blocks() -> None:
    task = task_of("causal-lm", block_tokens=8)
    examples = task.encode(rows(7))
    tokenizer = task.loaded.tokenizer
    stream: list[int] = []
    for row in rows(7):
        stream += [*tokenizer(row.fields["text"])["input_ids"], tokenizer.eos_token_id]
    targets: list[int] = []
    for index in range(len(examples)):
        labels = task.collate(examples, np.array([index]))["labels"][0]  # (T,)
        targets += labels[labels != IGNORED].tolist()
    assert targets == stream


@pytest.mark.parametrize("name", [name for name in TASK_NAMES if name != "classification"])
def test_a_micro_batch_without_targets_adds_no_loss_and_no_gradient(name: TaskName) -> None:
    task = task_of(name)
    batch = dict(task.collate(examples := task.encode(rows(5)), np.arange(len(examples))))
    batch["labels"] = torch.full_like(batch["labels"], IGNORED)
    loss = task.loss_sum(batch)
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(bool((gradient == 0).all()) for gradient in gradients(task).values())


# ---- divergence


def with_a_poisoned_word(task: Task) -> int:
    """Make one word's embedding NaN. Gives the step (from 0) that is the first to meet it."""
    examples = task.encode(rows())
    steps = [batch_of_step(step, count=len(examples), batch_size=8, seed=17) for step in range(5)]
    met = [{int(token) for index in step for token in examples.columns["input_ids"][index]} for step in steps]
    fresh = [sorted(met[step] - set().union(*met[:step])) for step in range(1, 5)]
    step, token = next((number, ids[0]) for number, ids in enumerate(fresh, start=1) if ids)
    with torch.no_grad():
        task.loaded.model.get_input_embeddings().weight[token] = math.nan
    return step


def test_a_nan_loss_stops_the_training_before_its_step_with_the_weights_of_before() -> None:
    task, calm = task_of("classification"), task_of("classification")
    poisoned = with_a_poisoned_word(task)
    with_a_poisoned_word(calm)
    before = train(calm, steps=poisoned, batch_size=8, total_steps=9)
    with pytest.raises(DivergedError, match=facts(f"step {poisoned + 1}", "loss", "nan")) as caught:
        train(task, steps=9, batch_size=8)
    assert caught.value.exit_code == 6
    assert poisoned >= 1
    assert same_bits(unique_tensors(task.loaded.model), before.weights)


def test_an_infinite_gradient_of_a_finite_loss_is_refused_too() -> None:
    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, loss: Tensor) -> Tensor:
            return loss.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient * math.inf

    stepper = stepper_of(Wrapped(task_of("classification"), lambda batch, loss: Steep.apply(loss)))
    before = {name: tensor.clone() for name, tensor in unique_tensors(stepper.task.loaded.model).items()}
    with pytest.raises(DivergedError, match=facts("step 1", "gradient", "norm")):
        stepper.run(0, learning_rate=1e-3)
    assert same_bits(unique_tensors(stepper.task.loaded.model), before)
    assert not gradients(stepper.task)


class Wrapped(BaseTask):
    """A task that does something to the loss of each batch."""

    def __init__(self, task: Task, change: Callable[[Batch, Tensor], Tensor]) -> None:
        self.task = task
        self.loaded = task.loaded
        self.recipe = task.recipe
        self.collate, self.predict = task.collate, task.predict
        self.change = change

    def encode(self, rows: Iterable[Row]) -> Examples:
        return self.task.encode(rows)

    def loss_sum(self, batch: Batch) -> Tensor:
        return self.change(batch, self.task.loss_sum(batch))


# ---- memory


def room_for(positions: int) -> Callable[[Batch, Tensor], Tensor]:
    """A device that holds so many input positions."""

    def change(batch: Batch, loss: Tensor) -> Tensor:
        if batch["input_ids"].numel() > positions:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss

    return change


def test_running_out_of_memory_halves_the_micro_batch_and_gives_the_same_update(
    caplog: pytest.LogCaptureFixture,
) -> None:
    narrow = stepper_of(Wrapped(without_key_biases(task_of("causal-lm")), room_for(100)), micro_batch_tokens=400)
    wide = stepper_of(without_key_biases(task_of("causal-lm")))
    for step in range(2):
        narrow.run(step, learning_rate=1e-2)
        wide.run(step, learning_rate=1e-2)
    assert narrow.micro_batch_tokens == 100
    assert [len(logged(caplog, "WARNING", "micro_batch_tokens", tokens)) for tokens in (200, 100)] == [1, 1]
    assert largest_difference(unique_tensors(narrow.task.loaded.model), unique_tensors(wide.task.loaded.model)) < 2e-5


def test_gradients_of_the_attempt_that_ran_out_of_memory_do_not_count() -> None:
    calls: list[int] = []

    def fails_once(batch: Batch, loss: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 3:  # after two micro-batches have left their gradients
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return loss

    narrow = stepper_of(Wrapped(task_of("causal-lm"), fails_once), micro_batch_tokens=48)
    wide = stepper_of(task_of("causal-lm"))
    assert narrow.run(0, learning_rate=0.0).gradient_norm == pytest.approx(
        wide.run(0, learning_rate=0.0).gradient_norm, rel=1e-5
    )
    assert narrow.micro_batch_tokens == 24


def test_one_example_that_does_not_fit_is_told_with_the_next_step() -> None:
    stepper = stepper_of(Wrapped(task_of("causal-lm"), room_for(5)), micro_batch_tokens=400)
    before = {name: tensor.clone() for name, tensor in unique_tensors(stepper.task.loaded.model).items()}
    with pytest.raises(MachineError, match=facts("memory", "12 tokens")):
        stepper.run(0, learning_rate=1e-2)
    assert same_bits(unique_tensors(stepper.task.loaded.model), before)


# ---- what must not change the weights


@pytest.mark.parametrize("name", TASK_NAMES)
def test_evaluation_and_saving_do_not_change_the_weights(name: TaskName, tmp_path: Path) -> None:
    quiet = train(task_of(name, dropout=0.2), steps=6)
    busy = train(
        task_of(name, dropout=0.2), steps=6, evaluate_every=1, save_every=1, store=store_in(tmp_path / "checkpoints")
    )
    assert len(busy.events) > len(quiet.events)
    assert same_bits(busy.weights, quiet.weights)


def test_random_numbers_drawn_between_steps_do_not_change_the_weights() -> None:
    calm = train(task_of("classification", dropout=0.2), steps=4)

    def drawing() -> None:
        torch.rand(7)
        np.random.rand(3)

    restless = train(task_of("classification", dropout=0.2), steps=4, stop_signal=drawing)
    assert same_bits(restless.weights, calm.weights)


def test_another_seed_gives_other_weights() -> None:
    first, second = (train(task_of("classification"), steps=3, seed=seed) for seed in (1, 2))
    assert not same_bits(first.weights, second.weights)


def test_dropout_differs_between_steps_and_micro_batches() -> None:
    task = task_of("classification", dropout=0.5)
    examples = Examples(
        columns={
            "input_ids": Ragged.of([[2, 7, 8, 9, 3]] * 64),
            "target_ids": Ragged.of([[0]] * 64),
        }
    )
    losses: list[float] = []

    def note(batch: Batch, loss: Tensor) -> Tensor:
        losses.append(float(loss.detach()))
        return loss

    stepper = stepper_of(Wrapped(task, note), examples=examples, micro_batch_tokens=6)
    stepper.task.loaded.model.train()
    stepper.run(0, learning_rate=0.0)
    stepper.run(1, learning_rate=0.0)
    assert len(losses) == 64
    assert len(set(losses)) == len(losses)


def test_the_longest_micro_batch_comes_first() -> None:
    stepper = stepper_of(task_of("classification"), micro_batch_tokens=SMALL_MICRO_BATCH)
    cuts: list[Indices] = stepper._micro_batches(0)[0]
    longest = [int(stepper.examples.lengths[cut].max()) for cut in cuts]
    assert longest == sorted(longest, reverse=True)
    assert [cut.tolist() for cut in cuts] == [
        cut.tolist()
        for cut in cut_by_tokens(np.concatenate(cuts), stepper.examples.lengths, max_tokens=SMALL_MICRO_BATCH)
    ]

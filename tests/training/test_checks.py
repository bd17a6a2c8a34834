"""Each check lets the tasks pass, and fails when the thing that it looks at is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapted import adapted, disturbed
from builders import LABELS, TASK_NAMES, TaskName, rows, same_bits, task_of, tiny_model, train
from facts import facts, says
from torch import Tensor
from torch.nn import functional

from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.export import unique_tensors
from llmkit.models.losses import IGNORED, cross_entropy_sum
from llmkit.recipe.blocks import TrainBlock
from llmkit.tasks.base import Batch, Task
from llmkit.tasks.classification.task import ClassificationTask
from llmkit.tasks.pretraining.causal_lm import CausalLMTask
from llmkit.tasks.seq2seq.task import Seq2SeqTask
from llmkit.training.checks import check_before_training, refuse_idle_smoothing

CPU = torch.device("cpu")


def checked(task: Task, *, batch_size: int = 8, count: int = 40) -> dict[str, str]:
    passed = check_before_training(task, task.encode(rows(count)), train=TrainBlock(batch_size=batch_size), device=CPU)
    return {check.name: check.result for check in passed}


@pytest.mark.parametrize("name", TASK_NAMES)
def test_every_task_passes(name: TaskName) -> None:
    names = ["targets", "labels", "end of text", "padding", "saving"]
    writes = name in ("causal-lm", "denoising", "instruction", "span-corruption", "summarization", "translation")
    assert list(checked(task_of(name, dropout=0.2))) == [one for one in names if writes or one != "end of text"]


def test_an_adapter_passes_with_its_product_no_longer_0(tmp_path: Path) -> None:
    task = task_of("causal-lm", loaded=disturbed(adapted("causal-lm", tmp_path / "base")))
    before = {name: tensor.clone() for name, tensor in unique_tensors(task.loaded.model).items()}
    assert "saving" in checked(task)
    assert same_bits(unique_tensors(task.loaded.model), before)


def test_a_training_takes_the_same_steps_after_the_checks() -> None:
    with_checks = task_of("masked-lm", dropout=0.2)
    checked(with_checks)
    assert same_bits(train(with_checks, steps=2).weights, train(task_of("masked-lm", dropout=0.2), steps=2).weights)


# ---- broken tasks


class Changed:
    """Another task's batches, changed on their way."""

    def __init__(self, change: Callable[[dict[str, Tensor], np.ndarray], None]) -> None:
        self.change = change

    def task(self, name: TaskName) -> Any:
        kind: Any = {
            "classification": ClassificationTask,
            "causal-lm": CausalLMTask,
            "summarization": Seq2SeqTask,
        }[name]
        change = self.change

        class Broken(kind):  # type: ignore[misc]  # a task class of the table
            def collate(self, examples: Examples, indices: np.ndarray, *, epoch: int | None = None) -> Batch:
                batch = {one: tensor.clone() for one, tensor in super().collate(examples, indices, epoch=epoch).items()}
                change(batch, indices)
                return batch

        whole = task_of(name)
        return Broken(whole.recipe, whole.loaded)


@pytest.mark.parametrize("name", ["causal-lm", "summarization"])
def test_a_loss_without_end_of_text_is_found(name: TaskName) -> None:
    def hide_ends(batch: dict[str, Tensor], _: np.ndarray) -> None:
        batch["labels"][batch["labels"] == end_id] = IGNORED

    end_id = task_of(name).loaded.tokenizer.eos_token_id
    with pytest.raises(DataError, match=facts("end of text", end_id, "train.checks: false")):
        checked(Changed(hide_ends).task(name))


def test_a_batch_without_a_target_is_found() -> None:
    def hide_one_batch(batch: dict[str, Tensor], indices: np.ndarray) -> None:
        if 7 in indices:
            batch["labels"][:] = IGNORED

    with pytest.raises(DataError, match=facts("targets", "8 examples", "batch")):
        checked(Changed(hide_one_batch).task("summarization"))


def test_examples_without_a_target_are_counted() -> None:
    def hide_two(batch: dict[str, Tensor], indices: np.ndarray) -> None:
        batch["labels"][np.isin(indices, [3, 7])] = IGNORED

    says(checked(Changed(hide_two).task("summarization"))["targets"], 2, "40 examples")


def test_batches_of_one_example_may_lack_a_target_but_not_all() -> None:
    def hide_one(batch: dict[str, Tensor], indices: np.ndarray) -> None:
        batch["labels"][np.isin(indices, [3])] = IGNORED

    def hide_all(batch: dict[str, Tensor], _: np.ndarray) -> None:
        batch["labels"][:] = IGNORED

    says(checked(Changed(hide_one).task("summarization"), batch_size=1)["targets"], 1, "40 examples")
    with pytest.raises(DataError, match=facts("targets", "40 examples")):
        checked(Changed(hide_all).task("summarization"), batch_size=1)


@pytest.mark.parametrize(
    ("name", "label", "outputs"),
    [("classification", 3, "2"), ("classification", -1, "2"), ("summarization", 5000, "410")],
)
def test_a_label_that_the_head_has_no_output_for_is_found(name: TaskName, label: int, outputs: str) -> None:
    def mislabel(batch: dict[str, Tensor], indices: np.ndarray) -> None:
        batch["labels"][np.isin(indices, [3])] = label

    with pytest.raises(DataError, match=facts("labels", label, 0, outputs)):
        checked(Changed(mislabel).task(name))


@pytest.mark.parametrize("labels", [("good",), ("bad", "fair", "good")])
def test_many_labels_pass_whatever_their_number(labels: tuple[str, ...]) -> None:
    """0 and 1 are targets of each output, not numbers of outputs."""
    some = [
        Row({"text": row.fields["text"], "labels": labels[: number % 2]}, row.place)
        for number, row in enumerate(rows(9))
    ]
    task = task_of("classification", loaded=tiny_model("bert", labels=labels), multilabel=True)
    passed = check_before_training(task, task.encode(some), train=TrainBlock(batch_size=4), device=CPU)
    assert "labels" in {check.name for check in passed}


def test_a_target_that_is_neither_there_nor_not_is_found() -> None:
    def count_twice(batch: dict[str, Tensor], _: np.ndarray) -> None:
        batch["labels"] = torch.full((len(batch["input_ids"]), len(LABELS)), 2)

    whole = Changed(count_twice).task("classification")
    whole.loaded.model.config.problem_type = "multi_label_classification"
    with pytest.raises(DataError, match=facts("labels", 2)):
        checked(whole)


def test_padding_that_is_attended_to_is_found() -> None:
    def forget_mask(batch: dict[str, Tensor], _: np.ndarray) -> None:
        batch["attention_mask"][:] = 1

    with pytest.raises(ModelError, match=facts("padding", "tokens", "loss")):
        checked(Changed(forget_mask).task("classification"))


class MeanLoss(Seq2SeqTask):
    def loss_sum(self, batch: Batch) -> Tensor:
        return super().loss_sum(batch) / len(batch["labels"])


def test_a_loss_that_is_no_number_is_left_to_the_first_step() -> None:
    task = task_of("classification")
    with torch.no_grad():
        task.loaded.model.classifier.weight.sign_().mul_(3e38)
    assert "saving" in checked(task)


def test_a_mean_in_place_of_a_sum_is_found() -> None:
    whole = task_of("summarization")
    with pytest.raises(ModelError, match=facts("padding")):
        checked(MeanLoss(whole.recipe, whole.loaded))


def test_what_is_not_in_the_files_of_a_model_is_found() -> None:
    task = task_of("classification")
    task.loaded.model.classifier.register_forward_hook(lambda module, inputs, logits: 2 * logits)
    with pytest.raises(ModelError, match=facts("saving", "loss", "files")):
        checked(task)


def test_a_weight_that_comes_back_otherwise_is_found() -> None:
    loaded = tiny_model("bert")
    loaded.model.bert.pooler.register_buffer("extra", torch.ones(1))
    with pytest.raises(ModelError, match=facts("saving", "pooler.extra")):
        checked(task_of("classification", loaded=loaded))


def test_a_model_that_cannot_be_opened_again_is_found() -> None:
    loaded = tiny_model("bert")
    with torch.no_grad():
        loaded.model.classifier.bias[0] = float("nan")
    task = task_of("classification", loaded=loaded)
    with pytest.raises(ModelError, match=facts("check before training", "finite", "classifier.bias")):
        checked(task)


# ---- smoothing


class Squared(ClassificationTask):
    def loss_sum(self, batch: Batch) -> Tensor:
        logits: Tensor = self.loaded.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return (logits[:, 0] - batch["labels"]).square().sum()


def test_smoothing_is_refused_where_the_loss_is_no_cross_entropy() -> None:
    whole = task_of("classification")
    refuse_idle_smoothing(whole, whole.encode(rows(9)), share=0.1)
    with pytest.raises(UsageError, match=facts("label_smoothing", "classification", "cross-entropy")):
        refuse_idle_smoothing(Squared(whole.recipe, whole.loaded), whole.encode(rows(9)), share=0.1)


class Overflowing(ClassificationTask):
    """A loss that smoothing makes infinite."""

    def loss_sum(self, batch: Batch) -> Tensor:
        apart, wanted = torch.tensor([[0.0, 1.0]]), torch.tensor([0])
        is_smoothed = cross_entropy_sum(apart, wanted) != functional.cross_entropy(apart, wanted)
        return torch.tensor(float("inf") if is_smoothed else 1.0)


def test_smoothing_is_refused_where_it_makes_the_loss_infinite() -> None:
    whole = task_of("classification")
    with pytest.raises(UsageError, match=facts("label_smoothing", "classification", "inf")):
        refuse_idle_smoothing(Overflowing(whole.recipe, whole.loaded), whole.encode(rows(9)), share=0.1)

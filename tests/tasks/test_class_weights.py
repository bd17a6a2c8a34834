"""Weights of labels and tags in the loss: the same update however a step is cut, and even by request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from builders import LABELS, TAGS, TaskName, recipe_of, rows, sentence, task_of, tiny_model
from facts import facts
from pydantic import ValidationError
from tiny_recipes import llmkit as command_line
from tiny_recipes import write_jsonl
from torch.nn import functional

from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.errors import DataError
from llmkit.models.losses import IGNORED
from llmkit.tasks.base import Task
from llmkit.tasks.class_weights import even_weights_of_counts, even_weights_of_sets
from llmkit.training.optimizer import adamw
from llmkit.training.step import LossModule, Stepper

KEYS: dict[TaskName, dict[str, Any]] = {
    "classification": {"multilabel": True, "class_weights": {"bad": 5.0, "good": 0.25}},
    "token-classification": {"class_weights": {"B-ANIMAL": 5.0, "O": 0.25}},
}
KINDS = tuple(KEYS)


def rows_for(name: TaskName) -> list[Row]:
    if name == "token-classification":
        return rows(37)
    return [
        Row(
            {
                "text": sentence(number),
                "labels": [label for place, label in enumerate(LABELS) if number % (place + 2) == 0],
            },
            f"rows.jsonl:{number + 1}",
        )
        for number in range(37)
    ]


def weighted_task(name: TaskName, **keys: Any) -> Task:
    labels = TAGS if name == "token-classification" else LABELS
    loaded = tiny_model("bert", head=recipe_of(name).HEAD, labels=labels)
    return task_of(name, loaded=loaded, **{**KEYS[name], **keys})


def stepper_of(task: Task, examples: Examples, *, micro_batch_tokens: int) -> Stepper:
    accelerator = Accelerator(cpu=True)
    module, optimizer = accelerator.prepare(LossModule(task), adamw(task.loaded.model, weight_decay=0.01))
    return Stepper(
        task=task,
        examples=examples,
        module=module,
        optimizer=optimizer,
        accelerator=accelerator,
        batch_size=32,
        max_grad_norm=None,
        micro_batch_tokens=micro_batch_tokens,
        seed=17,
    )


@pytest.mark.parametrize("name", KINDS)
def test_a_weighted_step_of_one_micro_batch_or_many_has_the_same_gradient(name: TaskName) -> None:
    whole, cut = weighted_task(name), weighted_task(name)
    nats, totals = stepper_of(whole, whole.encode(rows_for(name)), micro_batch_tokens=1_000_000)._accumulate(0)
    many = stepper_of(cut, cut.encode(rows_for(name)), micro_batch_tokens=40)
    assert len(many._micro_batches(0)[0]) >= 4
    cut_nats, cut_totals = many._accumulate(0)
    assert cut_nats == pytest.approx(nats, rel=1e-5)
    assert cut_totals[0] == totals[0]
    for (parameter, weight), other in zip(
        whole.loaded.model.named_parameters(), cut.loaded.model.parameters(), strict=True
    ):
        if weight.grad is not None:
            torch.testing.assert_close(other.grad, weight.grad, atol=1e-6, rtol=1e-4, msg=parameter)


@pytest.mark.parametrize("name", KINDS)
def test_each_label_and_tag_has_its_weight_in_the_loss(name: TaskName) -> None:
    task = weighted_task(name)
    batch = task.collate(task.encode(rows_for(name)), np.arange(20))
    weights: dict[str, float] = KEYS[name]["class_weights"]
    by_class = torch.tensor([weights.get(label, 1.0) for label in task.loaded.labels])
    with torch.no_grad():
        logits = task.loaded.model(batch["input_ids"], batch["attention_mask"]).logits
    labels = batch["labels"]
    if name == "classification":
        own = functional.logsigmoid(logits) * labels * by_class + functional.logsigmoid(-logits) * (1 - labels)
        expected = -own.sum()
    else:
        counted = labels != IGNORED
        each = functional.cross_entropy(logits[counted], labels[counted], reduction="none")
        expected = (each * by_class[labels[counted]]).sum()
    assert task.loss_sum(batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_even_weights_give_all_labels_the_same_total() -> None:
    assert even_weights_of_counts({"O": 8, "B-X": 2, "I-X": 0}) == {"O": 10 / 16, "B-X": 10 / 4}
    sets = [["a"], ["a", "b"], ["a"], ["c", "a"], []]
    assert even_weights_of_sets(sets, ("a", "b", "c", "d")) == {"a": 1 / 4, "b": 4.0, "c": 4.0}
    assert even_weights_of_sets([["a"], ["a", "b"]], ("a", "b")) == {"b": 1.0}


@pytest.mark.parametrize("name", KINDS)
def test_even_weights_are_computed_from_the_training_rows_and_saved_with_the_model(name: TaskName) -> None:
    task = weighted_task(name, class_weights="auto")
    examples = task.encode(rows_for(name))
    task.check_labels(examples, examples)
    saved = task.loaded.model.config.task_specific_params[name]["class_weights"]
    if name == "classification":
        assert saved == even_weights_of_sets(examples.references, LABELS)
    else:
        targets = examples.columns["target_ids"]
        ids = [int(value) for index in range(len(targets)) for value in targets[index] if value != IGNORED]
        assert saved == even_weights_of_counts({tag: ids.count(index) for index, tag in enumerate(TAGS)})
    again = task_of(name, loaded=task.loaded, **{**KEYS[name], "class_weights": "auto"})
    batch = task.collate(examples, np.arange(5))
    assert again.loss_sum(batch).item() == task.loss_sum(batch).item()
    plain = weighted_task(name, class_weights=None)
    assert plain.loss_sum(batch).item() != pytest.approx(task.loss_sum(batch).item(), rel=1e-3)


@pytest.mark.parametrize("name", KINDS)
def test_a_weight_of_an_unknown_label_or_tag_is_refused(name: TaskName) -> None:
    with pytest.raises(DataError, match=facts("class_weights", "'goood'")):
        weighted_task(name, class_weights={"goood": 2.0})


def test_a_number_has_no_class_weights() -> None:
    with pytest.raises(ValidationError, match="class_weights"):
        recipe_of("classification", regression=True, class_weights={"good": 2.0})


def test_a_model_folder_is_measured_with_the_weights_of_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records: list[Any] = [
        {"text": f"a {number}", "label": "rare" if number % 6 == 0 else "often"} for number in range(24)
    ]
    write_jsonl(tmp_path / "rows.jsonl", records)
    (tmp_path / "recipe.yaml").write_text(
        "recipe: 1\ntask: classification\nmodel: {architecture: bert, size: tiny, tokenizer: {vocab_size: 100}}\n"
        "class_weights: auto\ndata: {train: rows.jsonl, validation: rows.jsonl}\n"
        "train: {steps: 1, checks: false}\n"
    )
    assert command_line("finetune", "recipe.yaml", "--run", "run").code == 0
    losses = []
    for model in ("run", "run/model"):
        record: Any = command_line("evaluate", "--model", model, "--data", "rows.jsonl", "--json").records[0]
        losses.append(record["scores"]["loss"])
    assert json.loads((tmp_path / "run/run.json").read_text())["best"]["validation"]["loss"] == pytest.approx(losses[0])
    assert losses[1] == pytest.approx(losses[0])

"""The loss of each row, and the cluster and number that it keeps, in every task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from llmkit.data.examples import Examples
from llmkit.data.rows import Row
from llmkit.evaluation.measure import _in_order, _losses, measure
from llmkit.evaluation.row_losses import RowLosses
from llmkit.inference.engines.transformers import TransformersEngine
from llmkit.models.losses import label_smoothing
from llmkit.tasks.base import Task
from llmkit.tasks.target_counts import count_targets, targets_of_rows
from tests.builders import LABELS, TASK_NAMES, TaskName, rows, task_of, tiny_model

CPU = torch.device("cpu")
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "many labels": {"multilabel": True},
    "numbers": {"regression": True},
    "weights": {"class_weights": {"bad": 3.0, "good": 0.5}},
    "windows": {"overflow": "window", "max_tokens": 8},
}
CASES = [*TASK_NAMES, *CLASSIFIERS]


def case(name: str) -> tuple[Task, Examples]:
    """A task in evaluation, and some examples."""
    keys, given = CLASSIFIERS.get(name, {}), rows(24)
    task_name: TaskName = "classification" if name in CLASSIFIERS else name  # type: ignore[assignment]
    loaded = tiny_model("bert", head="classification", labels=("LABEL_0",)) if name == "numbers" else None
    task = task_of(task_name, loaded=loaded, **keys)
    for number, row in enumerate(given):
        row.fields["labels"] = list(LABELS[: number % 4])
    if name == "numbers":
        given = [replace(row, fields={**row.fields, "label": number / 7}) for number, row in enumerate(given)]
    task.loaded.model.eval()
    if name == "windows":
        task.loaded.tokenizer.model_max_length = 8
    return task, task.encode(given)


@pytest.mark.parametrize("name", CASES)
def test_the_losses_of_the_rows_of_a_batch_are_those_of_each_alone_in_any_order(name: str) -> None:
    task, examples = case(name)
    order = np.arange(min(7, len(examples)))[::-1]
    batch = task.collate(examples, order)
    with torch.inference_mode(), label_smoothing(0.2):  # for training alone
        losses = task.row_losses(batch)
        again = task.row_losses(task.collate(examples, np.arange(len(order))))
    with torch.inference_mode():
        alone = [float(task.loss_sum(task.collate(examples, order[place : place + 1]))) for place in range(len(order))]
        total = float(task.loss_sum(batch))
    assert losses.shape == (len(order),)
    assert losses.tolist() == pytest.approx(alone, rel=1e-4, abs=1e-5)
    assert again.tolist()[::-1] == pytest.approx(losses.tolist(), rel=1e-4, abs=1e-5)
    assert float(losses.sum()) == pytest.approx(total, rel=1e-5)
    targets = targets_of_rows(batch)
    assert targets.shape == (len(order),)
    assert targets.sum() == count_targets(batch) > 0


@pytest.mark.parametrize("name", CASES)
def test_rows_have_the_losses_of_all_their_examples_whatever_the_number_of_processes(name: str) -> None:
    task, examples = case(name)
    engine = TransformersEngine(task.loaded, device=CPU)
    measured = measure(task, examples, engine=engine, accelerator=Accelerator(cpu=True))
    losses = measured.losses
    assert losses.nats.shape == losses.targets.shape == (examples.rows,)
    assert measured.scores.values["loss"] == pytest.approx(losses.nats.sum() / losses.targets.sum(), rel=1e-12)
    for row, indices in list(enumerate(examples.examples_of()))[:5]:
        batch = task.collate(examples, np.asarray(indices))
        with torch.inference_mode():
            assert float(task.loss_sum(batch)) == pytest.approx(losses.nats[row], rel=1e-4, abs=1e-5)
        assert count_targets(batch) == losses.targets[row]
    has_bytes = "bits_per_byte" in measured.scores.values
    assert has_bytes == (losses.utf8_bytes is not None)
    if losses.utf8_bytes is not None:
        bits = losses.nats.sum() / np.log(2) / losses.utf8_bytes.sum()
        assert measured.scores.values["bits_per_byte"] == pytest.approx(bits, rel=1e-9)
    shares = [_losses(task, examples, np.arange(rank, len(examples), 3), device=CPU) for rank in range(3)]
    nats, targets = (np.asarray(_in_order([share[part].tolist() for share in shares])) for part in (0, 1))
    of_three = RowLosses.of_examples(examples, nats, targets, tokenizer=None)
    np.testing.assert_allclose(of_three.nats, losses.nats, rtol=1e-4, atol=1e-5)
    assert (of_three.targets == losses.targets).all()


@pytest.mark.parametrize(
    ("name", "max_tokens"),
    [
        ("classification", 10),
        ("multiple-choice", 14),
        ("question-answering", 56),
        ("token-classification", 8),
        ("summarization", None),
        ("instruction", None),
    ],
)
def test_clusters_and_numbers_stay_with_their_rows(name: TaskName, max_tokens: int | None) -> None:
    given = [replace(row, number=3 * place, cluster=f"c{place % 4}") for place, row in enumerate(rows(20))]
    given[5] = replace(given[5], cluster=None)
    task = task_of(name, overflow="drop" if max_tokens else "truncate")
    if max_tokens:
        task.loaded.tokenizer.model_max_length = max_tokens
    examples = task.encode(given)
    assert not max_tokens or 0 < examples.rows < len(given), "some rows are too long"
    for kept in (examples, examples.take([2, 0, 1]), examples.take([])):
        assert len(kept.origins) == len(kept.references)
    by_number = {row.number: row for row in given}
    whole = {row.number: task_of(name).encode([row]) for row in given[:: len(given) // 3]}
    for origin, reference in zip(examples.origins, examples.references, strict=True):
        row = by_number[origin.number]
        assert (origin.place, origin.cluster) == (row.place, row.cluster)
        if origin.number in whole:
            assert reference == whole[origin.number].references[0]
    clusters = examples.clusters
    assert clusters is not None
    assert clusters[0] == 0
    for one, first in zip(examples.origins, clusters, strict=True):
        for other, second in zip(examples.origins, clusters, strict=True):
            same = one is other or (one.cluster == other.cluster and one.cluster is not None)
            assert (first == second) == same
    alone = [replace(row, cluster=None) for row in given]
    assert task.encode(alone).clusters is None


def test_examples_without_origins_have_no_clusters() -> None:
    task = task_of("causal-lm")
    rows_of_clusters = [Row({"text": f"a cat {number}"}, "x", cluster="c") for number in range(9)]
    assert task.encode(rows_of_clusters).clusters is None  # a block has text of several rows

"""A training that diverges names the rows that it comes from, with file and line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import TASK_NAMES, TaskName, rows, store_in, task_of, train
from facts import facts

from llmkit.data.row_places import places_of
from llmkit.data.rows import Row
from llmkit.data.token_store import Blocks
from llmkit.errors import DivergedError
from llmkit.tasks.base import Task

CORPUS = ("causal-lm", "denoising", "masked-lm", "replaced-token-detection", "span-corruption")


def poison(task: Task, example: int) -> None:
    """Make the embedding of a token of this example NaN, one that the fewest others have."""
    examples = task.encode(rows())
    ids = [set(examples.columns["input_ids"][index].tolist()) for index in range(len(examples))]
    rarest = min(ids[example], key=lambda token: sum(token in other for other in ids))
    with torch.no_grad():
        task.loaded.model.get_input_embeddings().weight[rarest] = math.nan


@pytest.mark.parametrize("name", [name for name in TASK_NAMES if name not in CORPUS])
def test_each_example_has_the_place_of_its_row(name: TaskName) -> None:
    task = task_of(name)
    whole = task.encode(rows(20))
    for number, row in enumerate(rows(20)):
        alone = task.encode([row])
        places = [place for index in whole.examples_of()[number] for place in places_of(whole, [index])]
        assert set(places) == {row.place}
        assert (
            alone.columns["input_ids"][0].tolist()
            == whole.columns["input_ids"][whole.examples_of()[number][0]].tolist()
        )


def test_rows_that_are_dropped_do_not_shift_the_places_of_later_rows() -> None:
    task = task_of("classification", overflow="drop", max_tokens=24)
    long = Row({"text": "the cat walks " * 40, "label": rows()[0].fields["label"]}, "rows.jsonl:1")
    examples = task.encode([long, *rows(4)[1:]])
    assert places_of(examples, range(len(examples))) == ["rows.jsonl:2", "rows.jsonl:3", "rows.jsonl:4"]
    assert places_of(examples.take([2, 0]), [0]) == ["rows.jsonl:4"]


@pytest.mark.parametrize("name", CORPUS)
def test_each_block_of_a_corpus_has_the_places_of_its_rows(name: TaskName) -> None:
    task = task_of(name)
    examples = task.encode(rows(20))
    documents = [task.loaded.tokenizer(row.fields["text"], add_special_tokens=False)["input_ids"] for row in rows(20)]
    start = 1 if name != "causal-lm" else 0
    owner = [0] * (1 - start) + [number for number, ids in enumerate(documents) for _ in [*ids, None]]
    blocks = examples.columns["input_ids"]
    assert isinstance(blocks, Blocks)
    for index in range(len(examples)):
        tokens = blocks[index]
        owners = owner[index * blocks.stride : index * blocks.stride + len(tokens)]
        if tokens[0] == blocks.stream.ids(0, 1)[0] and len(tokens) > 1:
            owners = owners[1:]  # without the row before, of which the block has the end token alone
        assert places_of(examples, [index]) == [f"rows.jsonl:{number + 1}" for number in sorted(set(owners))]


@pytest.mark.parametrize("name", ["classification", "summarization", "causal-lm"])
def test_the_message_names_the_rows_with_a_loss_that_is_not_finite(name: TaskName, tmp_path: Path) -> None:
    task = task_of(name)
    examples = task.encode(rows())
    poison(task, 6)
    faulty = [index for index in range(len(examples)) if math.isnan(_loss_of(task, index))]
    assert 6 in faulty
    store = store_in(tmp_path / "checkpoints")
    with pytest.raises(DivergedError) as caught:
        train(task, steps=20, batch_size=4, save_every=1, store=store)
    places = set(places_of(examples, faulty))
    named = set(str(caught.value).split("Not finite for ")[1].split(", of ")[0].split(", "))
    assert named
    assert named <= places
    assert f"step {len(store.published()) + 1}:" in str(caught.value)


def _loss_of(task: Task, index: int) -> float:
    with torch.no_grad():
        return float(task.loss_sum(task.collate(task.encode(rows()), np.arange(index, index + 1), epoch=0)))


def test_a_gradient_that_is_not_finite_names_the_rows_of_its_step() -> None:
    task = task_of("classification")
    for parameter in task.loaded.model.parameters():
        parameter.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(DivergedError, match=facts("step 1", "gradient", "Its rows:", "and 24 more")) as caught:
        train(task, steps=2, batch_size=32)
    assert str(caught.value).count("rows.jsonl:") == 8

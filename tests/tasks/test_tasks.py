"""From rows to batches. Legend: B batch, T tokens, S source tokens."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from builders import LABELS, ONE_OF_EACH_FAMILY, TaskName, recipe_of, rows, sentence, task_of, tiny_model, tokenizer_of
from facts import facts, logged, says
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llmkit.data.examples import Ragged
from llmkit.data.rows import Row
from llmkit.errors import DataError, UsageError
from llmkit.models.export import tokenizer_files
from llmkit.models.losses import IGNORED
from llmkit.tasks import PRETRAINING


def labelled(*labels: str) -> list[Row]:
    return [
        Row({"text": sentence(number), "label": label}, f"f.csv:{number + 2}") for number, label in enumerate(labels)
    ]


# ---- labels


def test_labels_are_those_of_the_rows_sorted() -> None:
    recipe = recipe_of("classification")
    assert recipe.class_names(labelled("b", "a", "c", "a")) == ("a", "b", "c")


def test_the_recipes_labels_keep_their_order_whatever_the_rows_say() -> None:
    recipe = recipe_of("classification", labels=("no", "yes", "maybe"))
    assert recipe.class_names(labelled("yes", "yes")) == ("no", "yes", "maybe")


@pytest.mark.parametrize(("labels", "found"), [((), "none"), (("a", "a"), " a")])
def test_fewer_than_two_labels_are_refused(labels: Sequence[str], found: str) -> None:
    with pytest.raises(DataError, match=facts("two", "labels", "training", found)):
        recipe_of("classification").class_names(labelled(*labels))


def test_a_recipe_with_one_label_is_told_so() -> None:
    with pytest.raises(DataError, match=facts("recipe", "labels", " only")):
        recipe_of("classification", labels=("only",)).class_names(labelled("a", "b"))


def test_a_label_that_a_recipe_lists_twice_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        recipe_of("classification", labels=("yes", "no", "yes"))
    (error,) = caught.value.errors()
    assert error["loc"] == ("labels",)
    says(error["msg"], "'yes'")


def test_a_class_is_the_place_of_its_name_in_the_models_labels() -> None:
    task = task_of("classification")
    examples = task.encode(labelled("good", "bad", "fair"))
    assert task.collate(examples, np.arange(3))["labels"].tolist() == [
        LABELS.index(name) for name in ("good", "bad", "fair")
    ]
    assert examples.references == ["good", "bad", "fair"]


def test_unseen_labels_are_refused_with_first_place_counts_and_those_there_are() -> None:
    task = task_of("classification")
    with pytest.raises(DataError) as caught:
        task.encode(labelled("good", "goood", "bad", "ugly", "goood"))
    says(str(caught.value), "f.csv:3:", "'goood' (2 rows", "'ugly' (1 row", "f.csv:5", "'good'", "bad, fair, good")


# ---- text that is too long

LONG = " ".join(["cat"] * 30)


def with_one_long(role: str) -> list[Row]:
    return [
        Row(
            {"text": "the cat", "label": "good", "summary": "a dog", **({role: LONG} if number == 2 else {})},
            f"f.csv:{number}",
        )
        for number in range(5)
    ]


def limited(name: TaskName, overflow: str) -> tuple[object, str]:
    limits = {"max_source_tokens": 12, "max_target_tokens": 8} if name == "summarization" else {"max_tokens": 12}
    loaded = tiny_model("t5" if name == "summarization" else "bert")
    if name == "classification":
        loaded.tokenizer.model_max_length = 12  # where api/preparing.py keeps the recipe's limit
    return task_of(name, loaded=loaded, overflow=overflow, prefix="", **limits) if name == "summarization" else task_of(
        name, loaded=loaded, overflow=overflow, **limits
    ), next(iter(limits))  # fmt: skip


CASES: list[tuple[TaskName, str, str, int]] = [
    ("classification", "text", "max_tokens", 12),
    ("summarization", "text", "max_source_tokens", 12),
    ("summarization", "summary", "max_target_tokens", 8),
]


@pytest.mark.parametrize(("name", "role", "key", "limit"), CASES)
def test_overflow_error_names_place_count_limit_and_choices(name: TaskName, role: str, key: str, limit: int) -> None:
    task, _ = limited(name, "error")
    with pytest.raises(DataError, match=facts("f.csv:2:", 1, 5, "20.0%", key, limit, "overflow", "truncate", "drop")):
        task.encode(with_one_long(role))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "role", "key", "limit"), CASES)
def test_overflow_truncate_keeps_the_closing_token_and_counts_what_is_lost(
    name: TaskName, role: str, key: str, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    task, _ = limited(name, "truncate")
    tokenizer = task.loaded.tokenizer  # type: ignore[attr-defined]
    with caplog.at_level(logging.INFO, logger="llmkit"):
        examples = task.encode(with_one_long(role))  # type: ignore[attr-defined]
    column = examples.columns["target_ids" if role == "summary" else "input_ids"]
    assert len(examples) == 5
    assert len(column[2]) == limit
    closing = tokenizer.sep_token_id if name == "classification" else tokenizer.eos_token_id
    assert column[2][-1] == closing
    whole = tokenizer(LONG)["input_ids"]
    assert column[2][:-1].tolist() == whole[: limit - 1]
    (message,) = logged(caplog, "WARNING", 1, 5, "20.0%", limit, f"{len(whole) - limit} tokens")
    assert ("loss" in message) == (role == "summary")


@pytest.mark.parametrize(("name", "role", "key", "limit"), CASES)
def test_overflow_drop_leaves_out_the_row_and_its_reference_and_counts_it(
    name: TaskName, role: str, key: str, limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    task, _ = limited(name, "drop")
    examples = task.encode(with_one_long(role))  # type: ignore[attr-defined]
    assert len(examples) == len(examples.references) == 4
    assert all(len(column) == 4 for column in examples.columns.values())
    assert len(logged(caplog, "WARNING", 1, 5, "20.0%", limit)) == 1


@pytest.mark.parametrize("name", ["classification", "summarization"])
def test_cutting_a_text_leaves_the_tokenizer_as_it_was(name: TaskName) -> None:
    """transformers keeps the last cut in the tokenizer, and saved it: resume then found another tokenizer."""
    task, _ = limited(name, "truncate")
    before = tokenizer_files(task.loaded)  # type: ignore[attr-defined]
    task.encode(with_one_long("text")[:3])  # type: ignore[attr-defined]  # the long one is the last
    assert tokenizer_files(task.loaded) == before  # type: ignore[attr-defined]
    assert len(task.loaded.tokenizer(LONG)["input_ids"]) > 12  # type: ignore[attr-defined]


def test_nothing_too_long_is_said_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="llmkit"):
        task_of("classification").encode(rows(9))
    assert len(logged(caplog, "INFO", 64)) == 1


# ---- blocks


@pytest.mark.parametrize("name", PRETRAINING)
def test_no_rows_make_no_blocks(name: TaskName) -> None:
    """One block of the first context alone would be an example without a target, and its mean loss 0/0."""
    assert len(task_of(name).encode([])) == 0


@pytest.mark.parametrize("name", ["causal-lm", "masked-lm"])
def test_blocks_longer_than_the_model_reads_are_refused(name: TaskName) -> None:
    task = task_of(name, block_tokens=65)
    with pytest.raises(UsageError, match=facts("block_tokens", 65, task.loaded.name, 64)):
        task.encode(rows(3))


def test_bytes_are_those_of_the_text_in_utf8() -> None:
    examples = task_of("causal-lm").encode([Row({"text": "naïve"}, "a:1"), Row({"text": "狗"}, "a:2")])
    assert examples.utf8_bytes == 6 + 3


def test_a_text_longer_than_the_window_is_packed_whole_and_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    text = " ".join(sentence(number) for number in range(60))
    task = task_of("causal-lm", block_tokens=16)
    examples = task.encode([Row({"text": text}, "a:1")])
    ids = task.loaded.tokenizer(text)["input_ids"]
    blocks = examples.columns["input_ids"]
    assert [token for index in range(len(blocks)) for token in blocks[index].tolist()[1:]] == [
        *ids,
        task.loaded.tokenizer.eos_token_id,
    ]
    assert not recwarn.list


# ---- collate


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_a_batch_is_as_wide_as_its_longest_and_masked_by_length(name: TaskName) -> None:
    task = task_of(name)
    examples = task.encode(rows(9))
    indices = np.array([4, 1, 0])[: len(examples)]
    batch = task.collate(examples, indices)
    inputs = examples.columns["input_ids"]
    longest = int(inputs.lengths[indices].max())
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, longest)
    assert batch["attention_mask"].sum(dim=1).tolist() == inputs.lengths[indices].tolist()
    for row, mask, index in zip(batch["input_ids"], batch["attention_mask"], indices, strict=True):
        assert row[mask.bool()].tolist() == inputs[index].tolist()
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())
    if name == "classification":
        assert batch["labels"].shape == (3,)
    elif name == "summarization":
        targets = examples.columns["target_ids"]
        assert batch["labels"].shape == (3, int(targets.lengths[indices].max()))
        for row, index in zip(batch["labels"], indices, strict=True):
            assert row[row != IGNORED].tolist() == targets[index].tolist()
    else:
        assert batch["labels"].shape == (3, longest)
        assert (batch["labels"][:, -1] == IGNORED).all()


@pytest.mark.parametrize("name", ["classification", "instruction", "question-answering", "token-classification"])
def test_labels_and_places_are_no_tokens(name: TaskName) -> None:
    """Two of each window of a passage, and one of each label, were counted among the tokens of a step."""
    examples = task_of(name).encode(rows(5))
    assert len(examples.columns) == 2
    assert examples.lengths.tolist() == examples.columns["input_ids"].lengths.tolist()


def test_a_pad_token_that_is_the_end_of_text_is_still_told_apart() -> None:
    """GPT-2 pads with its end of text: told by id, every end of text would drop out of mask and loss."""
    task = task_of("causal-lm", block_tokens=8)
    end = tokenizer_of("gpt2").eos_token_id
    examples = task.encode([Row({"text": "the cat"}, "a:1"), Row({"text": "dog"}, "a:2")])
    batch = task.collate(examples, np.arange(len(examples)))
    real = int(examples.lengths.sum())
    assert int(batch["attention_mask"].sum()) == real
    assert int((batch["labels"] == end).sum()) == 2


def test_the_prefix_stands_before_every_text() -> None:
    task = task_of("summarization", prefix="shorten: ")
    examples = task.encode(rows(2))
    for index, row in enumerate(rows(2)):
        wanted = task.loaded.tokenizer("shorten: " + row.fields["text"])["input_ids"]
        assert examples.columns["input_ids"][index].tolist() == wanted


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8), st.data())
def test_ragged_gives_back_what_it_holds(held: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.of(held)
    assert [ragged[index].tolist() for index in range(len(ragged))] == held
    chosen = data.draw(st.lists(st.sampled_from(range(len(held))), max_size=6)) if held else []
    taken = ragged.take(chosen)
    assert [taken[index].tolist() for index in range(len(taken))] == [held[index] for index in chosen]

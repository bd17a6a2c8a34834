"""What a key of recipes means, from the classes of the recipes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from llmkit.errors import UsageError
from llmkit.recipe.blocks import Block
from llmkit.recipe.expectations import bare, field_type, inputs, is_block
from llmkit.recipe.explaining import explain_key, explain_keys
from llmkit.recipe.nodes import plain
from llmkit.recipe.yaml import read_yaml
from llmkit.tasks import RECIPES


def types_of(block: type[Block], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each key of a block and of the blocks in it, with its type."""
    for name, field in block.model_fields.items():
        yield f"{prefix}{name}", field_type(field)
        for inner in filter(is_block, map(bare, inputs(field_type(field)))):
            yield from types_of(inner, f"{prefix}{name}.")


def test_every_key_has_a_meaning_a_type_and_a_readable_example() -> None:
    for one in explain_keys(RECIPES):
        assert one.meaning, one.key
        assert one.type, one.key
        assert one.key.rpartition(".")[2] + ":" in one.example, one.key


def test_every_example_is_a_value_that_a_recipe_may_have() -> None:
    types = {task: dict(types_of(kind)) for task, kind in RECIPES.items()}
    for one in explain_keys(RECIPES):
        node, problems = read_yaml(one.example, source="example")
        assert node is not None
        assert problems == []
        value: Any = plain(node)
        for part in one.key.split("."):
            value = value[part]
        TypeAdapter(types[one.tasks[0]][one.key]).validate_python(value, strict=True)


def test_the_key_task_lists_the_tasks_once() -> None:
    [one] = explain_key("task", RECIPES)
    assert one.allowed == one.tasks == tuple(RECIPES)


def test_a_shared_key_has_its_default_and_its_allowed_words() -> None:
    [one] = explain_key("train.schedule", RECIPES)
    assert (one.default, one.allowed, one.of_all_tasks) == ("linear", ("constant", "linear", "cosine"), True)
    assert one.example == "train:\n  schedule: linear\n"


def test_a_key_that_tasks_define_differently_has_an_explanation_of_each() -> None:
    found = explain_key("max_source_tokens", RECIPES)
    assert {one.default for one in found} == {512, 256}
    assert {task for one in found for task in one.tasks} == {"summarization", "translation", "text-to-text"}


def test_a_key_can_be_named_without_its_block_where_only_one_has_it() -> None:
    assert explain_key("schedule", RECIPES) == explain_key("train.schedule", RECIPES)


@pytest.mark.parametrize(("key", "nearest"), [("train.shedule", "train.schedule"), ("batchsize", "train.batch_size")])
def test_an_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=nearest):
        explain_key(key, RECIPES)


def test_a_block_lists_its_keys_and_what_it_replaces() -> None:
    [one] = explain_key("train.lora", RECIPES)
    assert "train.lora.rank" in one.keys
    assert one.replaces == ("freeze",)

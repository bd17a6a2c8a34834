"""Rows of conversations: which columns are read, what a conversation must look like, which split it falls into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from builders import recipe_of
from facts import facts, says

from llmkit.data.fields import Fields
from llmkit.data.rows import RowSource
from llmkit.data.sources import open_rows
from llmkit.errors import DataError
from llmkit.tasks.instruction.recipe import InstructionRecipe
from llmkit.training.splits import open_splits

TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def opened(folder: Path, *records: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> RowSource:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return open_rows(
        [str(path)],
        Fields(
            column_types=InstructionRecipe.COLUMN_TYPES,
            columns=columns or {},
            optional=InstructionRecipe.OPTIONAL_FIELDS,
            groups=InstructionRecipe.FIELD_GROUPS,
        ),
    )


@pytest.mark.parametrize(
    ("record", "columns", "fields"),
    [
        ({"prompt": "a", "response": "b", "id": 1}, {}, {"prompt": "a", "response": "b"}),
        ({"prompt": "a", "input": "", "response": "b"}, {}, {"prompt": "a", "input": "", "response": "b"}),
        (
            {"instruction": "a", "input": "c", "output": "b"},
            {"prompt": "instruction", "response": "output"},
            {"prompt": "a", "input": "c", "response": "b"},
        ),
        (
            {"turn": {"q": "a", "a": "b"}},
            {"prompt": "turn.q", "response": "turn.a"},
            {"prompt": "a", "response": "b"},
        ),
        ({"messages": TALK, "prompt": "a"}, {}, {"messages": TALK}),  # a hub data set repeats the first turn so
        ({"messages": json.dumps(TALK)}, {}, {"messages": TALK}),  # a cell of CSV
        ({"messages": [{**TALK[0], "id": 3}, TALK[1]]}, {}, {"messages": TALK}),
        ({"messages": TALK, "prompt": "x", "response": "y"}, {"messages": "messages"}, {"messages": TALK}),
        ({"messages": TALK, "prompt": "x", "response": "y"}, {"prompt": "prompt"}, {"prompt": "x", "response": "y"}),
    ],
)
def test_the_form_of_the_rows_is_told_by_their_columns(
    tmp_path: Path, record: dict[str, Any], columns: dict[str, str], fields: dict[str, Any]
) -> None:
    assert [row.fields for row in opened(tmp_path, record, columns=columns)] == [fields]


@pytest.mark.parametrize(
    ("record", "columns", "stated"),
    [
        (
            {"messages": TALK, "prompt": "x", "response": "y"},
            {},
            ["'prompt' and 'response'", "'messages'", 'data.columns: {prompt: "prompt"}'],
        ),
        (
            {"question": "x", "prompt": "y"},
            {},
            ["'messages'", "'question', 'prompt'", 'data.columns: {response: "question"}'],
        ),
        (
            {"messages": TALK},
            {"prompt": "q"},
            ["'q'", "'messages'", 'data.columns: {prompt: "NAME"}'],
        ),
    ],
)
def test_both_forms_or_none_are_refused_with_what_to_write(
    tmp_path: Path, record: dict[str, Any], columns: dict[str, str], stated: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        opened(tmp_path, record, columns=columns)
    says(str(caught.value), f"{tmp_path}/rows.jsonl:", *stated)


@pytest.mark.parametrize(
    "messages", ["hello", "[1", ["a"], [{"role": "user"}], [{"role": "user", "content": None}], {"role": "user"}, None]
)
def test_what_is_no_list_of_messages_is_refused_with_its_place(tmp_path: Path, messages: Any) -> None:
    found = "null" if messages is None else '{"role": "user"'
    with pytest.raises(DataError, match=facts(f"{tmp_path}/rows.jsonl:1:", "'messages'", found)):
        list(opened(tmp_path, {"messages": messages}))


def test_a_nul_character_inside_a_message_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=facts("rows.jsonl:1:", "'messages'", "NUL")):
        list(opened(tmp_path, {"messages": [{"role": "user", "content": "a\0"}]}))


def test_an_empty_prompt_is_passed_over_and_an_empty_input_is_not(tmp_path: Path) -> None:
    source = opened(
        tmp_path,
        {"prompt": " ", "input": "c", "response": "b"},
        {"prompt": "a", "input": "", "response": "b"},
        {"prompt": "a", "input": "c", "response": ""},
    )
    assert len(list(source)) == 1
    assert list(source.skipped.values()) == [1, 1]
    for reason, role in zip(sorted(source.skipped), ("prompt", "response"), strict=True):
        says(reason, role)


def test_an_optional_column_counts_in_the_rows_that_have_it(tmp_path: Path) -> None:
    """What the first row of a JSONL file lacked was left out of all others, without a word."""
    rows = opened(tmp_path, *({"prompt": "a", "response": "b", **more} for more in ({}, {"input": "c"}, {})))
    assert [row.fields.get("input") for row in rows] == [None, "c", None]


def test_an_optional_column_that_is_named_is_needed_in_every_row(tmp_path: Path) -> None:
    records = ({"prompt": "a", "response": "b", **more} for more in ({"input": "c"}, {}))
    with pytest.raises(DataError, match=facts("rows.jsonl:2:", "'input'", "'prompt', 'response'")):
        list(opened(tmp_path, *records, columns={"input": "input"}))


def test_conversations_with_the_same_questions_fall_into_the_same_split(tmp_path: Path) -> None:
    talks = [
        {"messages": [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": answer}]}
        for number in range(40)
        for answer in ("yes", "no")
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    recipe = recipe_of("instruction").model_dump()
    recipe["data"] |= {"train": (str(tmp_path / "rows.jsonl"),), "validation": "30%"}
    splits = open_splits(InstructionRecipe.model_validate(recipe))
    questions = {name: [row.fields["messages"][0]["content"] for row in split] for name, split in splits.items()}
    assert not set(questions["train"]) & set(questions["validation"])
    assert len(questions["validation"]) >= 4
    assert len(questions["train"]) + len(questions["validation"]) == 80

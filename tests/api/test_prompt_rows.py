"""Prompts of files are read as the rows of a model's training are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from facts import facts
from tiny_recipes import write_jsonl

from llmkit.api.prompt_rows import prompt_rows
from llmkit.errors import DataError, UsageError
from llmkit.inference.prompts import Prompt

TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]


def prompts(folder: Path, row: dict[str, Any], *, chats: bool = True, **options: Any) -> list[str | Prompt]:
    path = write_jsonl(folder / "rows.jsonl", [row])
    return [row.value for row in prompt_rows(path, chats=chats, prefixes=not chats, **options)]


def test_a_prompt_has_its_input_and_a_conversation_its_history(tmp_path: Path) -> None:
    assert prompts(tmp_path, {"prompt": "a", "input": "b", "response": "c"}) == [Prompt("a\n\nb")]
    assert prompts(tmp_path, {"prompt": "a", "input": " "}) == [Prompt("a")]
    [asked] = prompts(tmp_path, {"messages": TALK})
    [answered] = prompts(tmp_path, {"messages": [*TALK, {"role": "assistant", "content": "d"}]})
    for prompt in (asked, answered):
        assert isinstance(prompt, Prompt)
        assert prompt.chat == TALK


def test_a_prefix_stands_in_front_of_a_text(tmp_path: Path) -> None:
    row = {"text": "a", "prefix": "b: ", "body": "c"}
    assert prompts(tmp_path, row, chats=False) == [Prompt("a", prefix="b: ")]
    assert prompts(tmp_path, row, chats=False, column="body") == [Prompt("c", prefix="b: ")]


def test_a_column_that_is_named_is_read_alone(tmp_path: Path) -> None:
    assert prompts(tmp_path, {"text": "a", "prompt": "b", "messages": TALK}) == ["a"]
    assert prompts(tmp_path, {"text": "a", "body": "b"}, column="body") == ["b"]


@pytest.mark.parametrize(
    ("row", "error", "stated"),
    [
        ({"prompt": "a", "messages": TALK}, UsageError, ["'prompt'", "'messages'", "--column"]),
        ({"messages": [*TALK, TALK[0]]}, DataError, ["rows.jsonl:1"]),
        ({"messages": []}, DataError, ["rows.jsonl:1"]),
        ({"body": "a"}, DataError, ["'text'", "'body'"]),
    ],
)
def test_rows_that_are_no_prompts_are_refused(
    tmp_path: Path, row: dict[str, Any], error: type[Exception], stated: list[str]
) -> None:
    with pytest.raises(error, match=facts(*stated)):
        prompts(tmp_path, row)

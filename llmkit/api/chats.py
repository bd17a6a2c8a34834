"""Conversations, checked, and in files: one object `{"messages": [...]}`, which is also a row of training data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmkit.atomic import replace_file
from llmkit.data.column_types import DESCRIPTIONS, ValueFault, messages
from llmkit.data.files import text_lines
from llmkit.data.given import given_values
from llmkit.errors import DataError, MachineError, UsageError
from llmkit.models.chat import Messages, fault_in
from llmkit.tasks.inputs import LONE_SURROGATE

_LINE_SUFFIXES = (".jsonl", ".ndjson")


def check_messages(conversation: Sequence[Mapping[str, str]]) -> Messages:
    """The messages of a conversation that the assistant has to answer.

    Raises:
        UsageError: not messages, not valid Unicode, or roles out of order.
    """
    if isinstance(conversation, str | Mapping):
        raise UsageError(f"messages: give {DESCRIPTIONS['messages']}.")
    try:
        checked = messages(list(given_values(conversation, what="messages")))
    except ValueFault as error:
        raise UsageError(f"messages: {error}. Give {DESCRIPTIONS['messages']}.") from error
    if any(LONE_SURROGATE.search(message["content"]) for message in checked):
        raise UsageError("messages: one is not valid Unicode, it holds half a surrogate pair. Write it as UTF-8.")
    fault = fault_in(checked, last="user")
    if fault is not None:
        raise UsageError(f"{fault}.")
    return checked


def load_conversation(path: str | Path) -> list[dict[str, str]]:
    """The messages of a saved conversation, which ends with an answer.

    Raises:
        DataError: no such file, not one conversation, or roles out of order.
    """
    text = "".join(text_lines(Path(path), str(path), translate=True))
    if Path(path).suffix.lower() in _LINE_SUFFIXES:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) != 1:
            raise DataError(f"{path}: found {len(lines):,} conversations, a line each; keep one.")
    try:
        conversation = messages(_messages_of(_parse_json(text, path)))
    except ValueFault as error:
        allowed = f'it should be {{"messages": [...]}}, {DESCRIPTIONS["messages"]}'
        raise DataError(f"{path}: {error}; {allowed}.") from error
    fault = fault_in(conversation, last="assistant")
    if fault is not None:
        raise DataError(f"{path}: {fault}.")
    return conversation


def save_conversation(path: str | Path, conversation: Messages) -> None:
    """Write messages in one step: one line to a .jsonl file, indented to any other.

    Raises:
        MachineError: it cannot be written; an old file is not changed.
    """
    target = Path(path).resolve()  # resolve links, so that the linked file is replaced
    if target.is_dir():
        raise MachineError(f"{path}: cannot be written, it is a folder. Give the name of a file.")
    indent = None if target.suffix.lower() in _LINE_SUFFIXES else 2
    content = {"messages": [dict(message) for message in conversation]}
    text = json.dumps(content, ensure_ascii=False, indent=indent) + "\n"
    replace_file(target, text.encode(), next_step="save again")


def _parse_json(text: str, path: str | Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({str(error) or 'nested too deep'}).") from error


def _messages_of(value: Any) -> Any:
    return value.get("messages") if isinstance(value, Mapping) else value

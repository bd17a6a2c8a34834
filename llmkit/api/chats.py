"""Conversations in files: one object `{"messages": [...]}`, which is also a row of training data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.atomic import replace_file
from llmkit.data.column_types import DESCRIPTIONS, messages
from llmkit.data.files import text_lines
from llmkit.errors import DataError, MachineError
from llmkit.models.chat import Messages, fault_in

_LINES = (".jsonl", ".ndjson")


def load_conversation(path: str | Path) -> list[dict[str, str]]:
    """The messages of a saved conversation, ended by an answer.

    Raises:
        DataError: no such file, not one conversation, or one whose roles are out of order.
    """
    text = "".join(text_lines(Path(path), str(path), translate=True))
    if Path(path).suffix.lower() in _LINES:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) != 1:
            raise DataError(f"{path}: found {len(lines):,} conversations, a line each; keep one.")
    found = messages(_messages_of(_parsed(text, path)))
    if found is None:
        raise DataError(f'{path}: it should be {{"messages": [...]}}, {DESCRIPTIONS["messages"]}.')
    fault = fault_in(found, last="assistant")
    if fault is not None:
        raise DataError(f"{path}: {fault}.")
    return found


def save_conversation(path: str | Path, conversation: Messages) -> None:
    """Write messages in one step: one line to a .jsonl file, indented to any other.

    Raises:
        MachineError: it cannot be written; what was there stays.
    """
    target = Path(path).resolve()  # through a link: the file that it points to is replaced
    if target.is_dir():
        raise MachineError(f"{path}: cannot be written, it is a folder. Give the name of a file.")
    indent = None if target.suffix.lower() in _LINES else 2
    content = {"messages": [dict(message) for message in conversation]}
    text = json.dumps(content, ensure_ascii=False, indent=indent) + "\n"
    replace_file(target, text.encode(), next_step="save again")


def _parsed(text: str, path: str | Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({str(error) or 'nested too deep'}).") from error


def _messages_of(value: Any) -> Any:
    return value.get("messages") if isinstance(value, Mapping) else value

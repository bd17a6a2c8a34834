"""Prompts as values and from files, as the rows of a model's training have them: with a prefix, an input or a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from llmkit.api.texts import InputRow, row_id, text_rows
from llmkit.data.fields import Fields
from llmkit.data.given import given_items
from llmkit.data.rows import Row
from llmkit.data.sources import column_names, is_plain_text, open_rows
from llmkit.errors import DataError, UsageError
from llmkit.inference.prompts import Prompt
from llmkit.models.chat import fault_in
from llmkit.recipe.blocks import Quoting
from llmkit.tasks.instruction.rows import user_text

_MAPPING = "Name another with --column {column}"


def prompt_rows(
    source: str | Path,
    *,
    chats: bool,
    prefixes: bool,
    column: str | None = None,
    by_line: bool = True,
    quoting: Quoting = "auto",
) -> Iterator[InputRow[str | Prompt]]:
    """One prompt a row, read as a stream.

    Args:
        chats: they are for a chat model: `prompt` with `input` where there is one, or `messages` up to the last answer,
            unless there is a column `text`.
        prefixes: a column `prefix` stands in front of the text, as in the rows of text-to-text.
        column: of the texts; without it as above, else `text`.
        by_line, quoting: as for `text_rows`.
    Raises:
        UsageError: several columns that could be meant.
        DataError: missing, unreadable, without the column, or a conversation out of order.
    """
    names = [] if is_plain_text(source) else column_names(str(source), quoting=quoting)
    if prefixes and "prefix" in names:
        types = {"text": "text", "prefix": "text"}
        rows = _rows(source, types, {"text": column or "text"}, optional={"prefix": True}, quoting=quoting)
        return (
            _prompt_row(number, row, Prompt(row.fields["text"], prefix=row.fields.get("prefix")))
            for number, row in enumerate(rows, 1)
        )
    asked = [name for name in ("prompt", "messages") if name in names and "text" not in names and column is None]
    if len(asked) > 1:
        raise UsageError(f"{source}: it has 'prompt' and 'messages'. Name one with --column.")
    named = column or next(iter(asked), "text")
    if chats and named == "messages" and named in names:
        rows = _rows(source, {"messages": "messages"}, {}, optional={}, quoting=quoting)
        return (_prompt_row(number, row, _last_turn(row)) for number, row in enumerate(rows, 1))
    if chats and named == "prompt" and named in names:
        types = {"prompt": "text", "input": "text"}
        rows = _rows(source, types, {}, optional={"input": True}, quoting=quoting)
        return (_prompt_row(number, row, Prompt(user_text(row.fields))) for number, row in enumerate(rows, 1))
    return text_rows(source, column=column or "text", by_line=by_line, quoting=quoting)


def given_prompts(values: Iterable[object]) -> Iterator[str | Prompt]:
    """The prompts, in order, each a text or a `Prompt`; see `given_texts`."""
    return given_items(values, Prompt, what="prompts")


def _rows(
    source: str | Path, types: dict[str, Any], columns: dict[str, str], *, optional: dict[str, bool], quoting: Quoting
) -> Iterator[Row]:
    return iter(
        open_rows(
            [str(source)],
            Fields(
                column_types={**types, "id": "any"},
                columns=columns,
                optional={**optional, "id": False},
                mapping=_MAPPING,
            ),
            quoting=quoting,
            keep_empty=True,
        )
    )


def _prompt_row(number: int, row: Row, prompt: Prompt) -> InputRow[str | Prompt]:
    if prompt.text.strip():
        return InputRow(number, prompt, row.place, row_id(row))
    return InputRow(number, prompt.text, row.place, row_id(row), "the prompt is empty")


def _last_turn(row: Row) -> Prompt:
    """What the user says last in a conversation, with the messages before; an answer to it is not read.

    Raises:
        DataError: messages out of order, with the place.
    """
    messages = row.fields["messages"]
    answered = bool(messages) and messages[-1]["role"] == "assistant"
    fault = fault_in(messages, last="assistant" if answered else "user")
    if fault is not None:
        raise DataError(f"{row.place}: {fault}.")
    *history, last = messages[:-1] if answered else messages
    return Prompt(last["content"], history=history)

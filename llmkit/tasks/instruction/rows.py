"""Rows of either form as conversations. Knows no tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmkit.errors import RowError
from llmkit.models.chat import Messages, fault_in, fault_of_length

if TYPE_CHECKING:
    from llmkit.data.rows import Row


def messages_of(row: Row) -> Messages:
    """A row with messages, or with a prompt and a response, as a conversation.

    Raises:
        RowError: turns out of order, an empty one, or no answer at the end.
    """
    fields = row.fields
    if "messages" in fields:
        messages: Messages = fields["messages"]
        fault = fault_of_length(messages) or fault_in(messages, last="assistant")
        if fault is not None:
            raise RowError(
                row.place, f"{fault}.", reason="a conversation in another order or too long, or an empty message"
            )
        return messages
    return [{"role": "user", "content": user_text(fields)}, {"role": "assistant", "content": fields["response"]}]


def user_text(fields: Mapping[str, str]) -> str:
    """What the user says in a row with a `prompt` and perhaps an `input`."""
    return "\n\n".join([fields["prompt"], *([fields["input"]] if fields.get("input", "").strip() else [])])

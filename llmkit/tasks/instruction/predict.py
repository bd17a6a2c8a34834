"""The assistant's next turn in a conversation: as much history as fits, whole or streamed. Knows no commands."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from llmkit.errors import DataError
from llmkit.models.chat import Messages, encode_prompts, without_oldest_exchange
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.blocks import GenerationBlock
from llmkit.tasks.base import Engine, StreamingEngine
from llmkit.tasks.decoding import cut_at_stop, decode_new, stream_ids, stripped

logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class Reply:
    text: str
    unread_messages: int
    """How many of the oldest messages did not fit with the newest ones and an answer."""


@dataclass(frozen=True)
class _Fitted:
    ids: list[int]
    options: GenerationBlock
    unread_messages: int


def answer_chat(loaded: LoadedModel, engine: Engine, messages: Messages, *, options: GenerationBlock) -> Reply:
    """The next message of the assistant.

    Args:
        messages: valid, the last one from the user; see `models.chat.fault_in`.
        options: `max_new_tokens` must be set.
    Raises:
        DataError: the last message alone is too long.
        ModelError: a chat template that fails, or outputs that are not finite.
    """
    fitted = _fit(loaded, messages, options=options)
    ids = engine.generate([fitted.ids], fitted.options)[0][0]
    return Reply(cut_at_stop(decode_new(loaded, ids), options.stop).strip(), fitted.unread_messages)


def stream_chat(
    loaded: LoadedModel, engine: StreamingEngine, messages: Messages, *, options: GenerationBlock
) -> Iterator[str]:
    """The text of `answer_chat` in chunks, as they are generated. Closing the iterator stops.

    Raises:
        DataError, ModelError: as `answer_chat`, before the first chunk.
    """
    fitted = _fit(loaded, messages, options=options)
    yield from stripped(stream_ids(loaded, engine, fitted.ids, options=fitted.options))


def _fit(loaded: LoadedModel, messages: Messages, *, options: GenerationBlock) -> _Fitted:
    """The prompt without the oldest exchanges, if there are too many; at least half of the window is for the prompt."""
    if options.max_new_tokens is None:
        raise ValueError("max_new_tokens must be set before text is generated")
    window = loaded.window
    room = max(window - options.max_new_tokens, window // 2)
    history = messages
    ids = encode_prompts(loaded, [history])[0]
    while len(ids) > room and sum(message["role"] == "user" for message in history) > 1:
        history = without_oldest_exchange(history)
        ids = encode_prompts(loaded, [history])[0]
    if len(ids) >= window:
        raise DataError(
            f"the message has {len(ids):,} tokens, the template included, and {loaded.name} reads {window:,} with "
            "the answer; shorten it"
        )
    unread = len(messages) - len(history)
    if unread:
        logger.warning("the oldest %d messages are not read: %s has %s tokens", unread, loaded.name, f"{window:,}")
    limit = min(options.max_new_tokens, window - len(ids))
    return _Fitted(ids, options.model_copy(update={"max_new_tokens": limit}), unread)

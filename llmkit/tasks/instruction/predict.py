"""The assistant's next turn in a conversation: as much history as fits, whole or in pieces. Knows no commands."""

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
    """The oldest messages that did not fit beside the newest ones and room for an answer."""


@dataclass(frozen=True)
class _Fitted:
    ids: list[int]
    options: GenerationBlock
    unread_messages: int


def answer_chat(loaded: LoadedModel, engine: Engine, messages: Messages, *, options: GenerationBlock) -> Reply:
    """What the assistant says next.

    Args:
        messages: sound, and the last one the user's; see `models.chat.fault_in`.
        options: `max_new_tokens` must be set.
    Raises:
        DataError: the last message alone is too long.
        ModelError: a chat template that fails, or numbers that are not finite.
    """
    fitted = _fit(loaded, messages, options=options)
    ids = engine.generate([fitted.ids], fitted.options)[0][0]
    return Reply(cut_at_stop(decode_new(loaded, ids), options.stop).strip(), fitted.unread_messages)


def stream_chat(
    loaded: LoadedModel, engine: StreamingEngine, messages: Messages, *, options: GenerationBlock
) -> Iterator[str]:
    """The text of `answer_chat` in pieces, as they come. Closing the iterator ends the work.

    Raises:
        DataError, ModelError: as `answer_chat`, before the first piece.
    """
    fitted = _fit(loaded, messages, options=options)
    yield from stripped(stream_ids(loaded, engine, fitted.ids, options=fitted.options))


def _fit(loaded: LoadedModel, messages: Messages, *, options: GenerationBlock) -> _Fitted:
    """The prompt without the oldest exchanges, if there are too many; they give way for half of the window at most."""
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
            f"the message has {len(ids):,} tokens, its surroundings included, and {loaded.name} reads {window:,} with "
            "the answer; shorten it"
        )
    unread = len(messages) - len(history)
    if unread:
        logger.warning("the oldest %d messages are not read: %s has %s tokens", unread, loaded.name, f"{window:,}")
    limit = min(options.max_new_tokens, window - len(ids))
    return _Fitted(ids, options.model_copy(update={"max_new_tokens": limit}), unread)

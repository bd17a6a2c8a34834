"""The assistant's next turn in a conversation: as much history as fits, whole or streamed. Knows no commands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llmkit.errors import DataError
from llmkit.models.chat import Messages, encode_prompts, newest_that_fit
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.decoding import TextDecoder, Written, stream_ids, stripped, written
from llmkit.tasks.engine import Engine, StreamingEngine
from llmkit.tasks.unknown import UnknownCount

logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class Reply:
    text: str
    unread_messages: int
    """How many of the oldest messages did not fit with the newest ones and an answer."""
    unknown_tokens: int = 0
    """Tokens of the last message that stand for text that the model cannot read."""
    finished: bool = True
    """Whether the answer ended by itself, not at its length limit."""


@dataclass(frozen=True)
class FittedPrompt:
    """A conversation as the model reads it."""

    ids: list[int]
    options: GenerationBlock
    unread_messages: int

    @property
    def limit(self) -> int:
        """New tokens at most."""
        return self.options.max_new_tokens or 0


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
    decoder = TextDecoder(loaded, keep_special=options.keep_special)
    [[answer]] = answer_fitted(engine, [fitted], decoder=decoder)
    decoder.report()
    return Reply(answer.text, fitted.unread_messages, _count_unknown(loaded, messages), answer.finished)


def answer_fitted(engine: Engine, prompts: Sequence[FittedPrompt], *, decoder: TextDecoder) -> list[list[Written]]:
    """The answers to each prompt, `num_return_sequences` of them; prompts with the same room are generated together."""
    answers: list[list[Written]] = [[] for _ in prompts]
    for limit in sorted({prompt.limit for prompt in prompts}):  # of most the same; less where the window ends first
        rows = [row for row, prompt in enumerate(prompts) if prompt.limit == limit]
        options = prompts[rows[0]].options
        for row, outputs in zip(rows, engine.generate([prompts[row].ids for row in rows], options), strict=True):
            results = [written(decoder, ids, options, prompt=prompts[row].ids) for ids in outputs]
            answers[row] = [Written(result.text.strip(), result.finished) for result in results]
    return answers


def fit_prompts(
    loaded: LoadedModel, chats: Sequence[Messages], *, options: GenerationBlock
) -> list[FittedPrompt | None]:
    """The prompt of each conversation, without the oldest exchanges if there are too many: at least half of the window
    is for the prompt. None where the last message alone is too long.

    Args:
        options: `max_new_tokens` must be set.
    """
    if options.max_new_tokens is None:
        raise ValueError("max_new_tokens must be set before text is generated")
    window = loaded.window
    room = max(window - options.max_new_tokens, window // 2)
    fitted: list[FittedPrompt | None] = []
    for chat, whole_ids in zip(chats, encode_prompts(loaded, chats), strict=True):
        history, ids = chat, whole_ids
        if len(ids) > room:
            history, ids = newest_that_fit(chat, lambda part: encode_prompts(loaded, [part])[0], room=room)
        limit = min(options.new_tokens(len(ids)), window - len(ids))
        least = min(options.min_new_tokens, max(limit, 0))
        own_options = options.model_copy(update={"max_new_tokens": limit, "max_length": None, "min_new_tokens": least})
        fitted.append(FittedPrompt(ids, own_options, len(chat) - len(history)) if limit > 0 else None)
    return fitted


def stream_chat(
    loaded: LoadedModel,
    engine: StreamingEngine,
    messages: Messages,
    *,
    options: GenerationBlock,
    on_end: Callable[[bool], None] = lambda finished: None,
) -> Iterator[str]:
    """The text of `answer_chat` in chunks, as they are generated. Closing the iterator stops.

    Args:
        on_end: called after the last chunk with whether the answer ended by itself, not at its length limit.
    Raises:
        DataError, ModelError: as `answer_chat`, before the first chunk.
    """
    fitted = _fit(loaded, messages, options=options)
    yield from stripped(stream_ids(loaded, engine, fitted.ids, options=fitted.options, on_end=on_end))


def _fit(loaded: LoadedModel, messages: Messages, *, options: GenerationBlock) -> FittedPrompt:
    [fitted] = fit_prompts(loaded, [messages], options=options)
    if fitted is None:
        raise DataError(too_long(loaded, messages))
    if unread := fitted.unread_messages:
        logger.warning(
            "the oldest %d messages are not read: %s has %s tokens", unread, loaded.name, f"{loaded.window:,}"
        )
    return fitted


def _count_unknown(loaded: LoadedModel, messages: Messages) -> int:
    """Unknown tokens of the last message, which are logged."""
    unknown = UnknownCount(loaded.tokenizer, "message")
    (tokens,) = unknown.add([messages[-1]["content"]])
    unknown.report()
    return tokens


def too_long(loaded: LoadedModel, messages: Messages) -> str:
    """What is wrong with a conversation that has no `FittedPrompt`."""
    last = [message for message in messages[:-1] if message["role"] == "system"] + [messages[-1]]
    tokens = len(encode_prompts(loaded, [last])[0])
    return (
        f"the message has {tokens:,} tokens, the template included, and {loaded.name} reads {loaded.window:,} with "
        "the answer; shorten it"
    )

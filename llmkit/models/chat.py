"""Conversations as token ids: the order of roles, our chat template for models without one, and encoding of user text.

A template is Jinja, stored in the tokenizer as usual in transformers. User text is never encoded as a special token: in
the rendered text, only names written by the template itself become special ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeVar

from llmkit.errors import ModelError
from llmkit.models.chat_encoding import ChatEncoder
from llmkit.models.rendering import Prefixes, TemplateFault, renderer

if TYPE_CHECKING:
    from llmkit.models.loaded import LoadedModel

Message = Mapping[str, str]
"""`role` and `content`."""
Messages = Sequence[Message]
ROLES = ("system", "user", "assistant")

TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- message['role'] | capitalize + ': ' + message['content'] | trim -}}"
    "{{- eos_token if message['role'] == 'assistant' else '\\n' -}}"
    "{%- endfor -%}"
    "{{- 'Assistant:' if add_generation_prompt -}}"
)
"""`User: ...`, a new line, `Assistant: ...` and the end-of-text token; nothing comes between an answer and the next
turn. The space after `Assistant:` belongs to the answer: byte-level BPE joins it to the first word."""
_EXCHANGE: Messages = ({"role": "user", "content": "question"}, {"role": "assistant", "content": "qxanswerxq"})
"""An example to find how a template ends an answer; no template contains this text itself."""
_MAX_RENDERED_CHARACTERS = 100_000_000
"""Of all beginnings of a conversation together; it takes a second or two."""
_MESSAGE_CHARACTERS = 50
"""What a template adds to a message, or what that costs."""


@dataclass(frozen=True)
class EncodedChat:
    ids: list[int]
    answers: list[tuple[int, int]]
    """Start and end of each answer among the ids; the last token of each ends it."""

    def __len__(self) -> int:
        return len(self.ids)


Encoded = TypeVar("Encoded", bound=Sized)


def fault_in(messages: Messages, *, last: Literal["user", "assistant"]) -> str | None:
    """The error in the order or contents, with messages counted from 1; None for a valid conversation.

    Valid: at most one system message, at the start; then user and assistant alternate; `last` is the last role.
    """
    turns = messages[1:] if messages and messages[0]["role"] == "system" else messages
    first = 1 + len(messages) - len(turns)
    for number, message in enumerate(messages, start=1):
        role = message["role"]
        if role not in ROLES:
            return f"message {number}: the role is {role!r}; use {', '.join(ROLES)}"
        expected = "user" if (number - first) % 2 == 0 else "assistant"
        if number >= first and role != expected:
            return f"message {number}: the role is {role}, expected {expected}; user and assistant must alternate"
        if not message["content"].strip():
            return f"message {number}: the {role}'s content is empty"
    if last == "assistant" and not any(message["role"] == "assistant" for message in turns):
        return "no message is from the assistant, so there is no answer to learn"
    if not turns or turns[-1]["role"] != last:
        role = f"the {turns[-1]['role']}'s" if turns else "missing"
        return f"the last message is {role}; it should be the {last}'s"
    return None


def fault_of_length(messages: Messages) -> str | None:
    """Why the answers of a conversation cannot be located: each of its beginnings is rendered for that, in quadratic time
    and memory. None where they can."""
    characters = sum(len(message["content"]) + _MESSAGE_CHARACTERS for message in messages)
    if len(messages) * characters <= _MAX_RENDERED_CHARACTERS:
        return None
    return f"{len(messages):,} messages with {characters:,} characters are too long a conversation; split it"


def contents_of(messages: Messages) -> str:
    """All that the messages say, as one text."""
    return "\n".join(message["content"] for message in messages)


def newest_that_fit(
    messages: Messages, encode: Callable[[Messages], Encoded], *, room: int
) -> tuple[Messages, Encoded]:
    """The conversation with as many of its newest exchanges as fit, but at least one; and its encoding, which is too long
    if that one alone is. A system message stays.

    Short conversations are tried first: the time to encode one is quadratic in its length.

    Args:
        encode: something with a length in tokens.
        room: the most tokens that fit.
    """
    first = 1 if messages[0]["role"] == "system" else 0
    exchanges = sum(message["role"] == "user" for message in messages)

    def newest(count: int) -> Messages:
        return [*messages[:first], *messages[first + 2 * (exchanges - count) :]]

    fits, best = 1, encode(newest(1))
    too_many = exchanges + 1 if len(best) <= room else 2
    while fits + 1 < too_many:
        count = min(2 * fits, exchanges) if too_many > exchanges else (fits + too_many) // 2
        encoded = encode(newest(count))
        if len(encoded) <= room:
            fits, best = count, encoded
        else:
            too_many = count
    return newest(fits), best


def is_chat_model(loaded: LoadedModel) -> bool:
    """Whether the model was trained on conversations: its tokenizer then has a chat template."""
    return loaded.tokenizer.chat_template is not None


def check_chat_model(loaded: LoadedModel) -> None:
    """
    Raises:
        ModelError: it was not trained on conversations.
    """
    if not is_chat_model(loaded):
        raise ModelError(
            f"{loaded.name}: it has no chat template, so it was not trained on conversations. Train it with "
            "`task: instruction`, or continue texts with `llmkit generate`."
        )


def encode_chats(loaded: LoadedModel, chats: Sequence[Messages]) -> list[EncodedChat]:
    """Ids of whole conversations that end with an answer; as by `apply_chat_template`, but user text is never special.

    Raises:
        ModelError: the template fails, changes earlier turns, or does not end answers with a special token.
    """
    marks = ChatEncoder(loaded.tokenizer, chats)
    rendered = _rendered(loaded, [marks.hidden(chat) for chat in chats], _turns)
    segments = [list(_segments(loaded, texts)) for texts in rendered]
    continued = [number > 0 for chat in segments for number in range(len(chat))]
    ids = iter(marks.encode([text for chat in segments for text, _ in chat], continued=continued))
    ends = answer_ends(loaded)
    return [_joined(loaded, [(next(ids), is_answer) for _, is_answer in chat], ends=ends) for chat in segments]


def answer_ends(loaded: LoadedModel) -> tuple[int, ...]:
    """Ids of the special and added tokens that the chat template adds after an answer, in order.

    Raises:
        ModelError: a template that fails.
    """
    rendered = _exchange(*_template_of(loaded))
    if isinstance(rendered, TemplateFault):
        raise _refused(loaded, rendered)
    if _EXCHANGE[1]["content"] not in rendered:
        return ()
    suffix = rendered.rpartition(_EXCHANGE[1]["content"])[2]
    added = loaded.tokenizer.added_tokens_decoder
    return tuple(token for token in ChatEncoder(loaded.tokenizer, [_EXCHANGE]).encode([suffix])[0] if token in added)


def encode_prompts(loaded: LoadedModel, chats: Sequence[Messages]) -> list[list[int]]:
    """Ids of conversations up to the start of the assistant's next answer.

    Raises:
        ModelError: a template that fails, or writes nothing.
    """
    marks = ChatEncoder(loaded.tokenizer, chats)
    texts = _rendered(loaded, [marks.hidden(chat) for chat in chats], lambda chat: [(len(chat), True)])
    prompts = marks.encode([text for (text,) in texts])
    if not all(prompts):
        raise ModelError(f"{loaded.name}: its chat template writes no text for this conversation.")
    return prompts


def _turns(messages: Messages) -> list[tuple[int, bool]]:
    """The conversation up to each answer, without it and with it."""
    turns = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    return [prefix for number in turns for prefix in ((number, True), (number + 1, False))]


def _segments(loaded: LoadedModel, texts: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The rendered text in segments, and whether each is an answer; split where the prompt ends at inference, too.

    Args:
        texts: of the conversation's `_turns`.
    """
    previous = ""
    for prompt, whole in zip(texts[::2], texts[1::2], strict=True):
        if not (prompt.startswith(previous) and whole.startswith(prompt)):
            raise ModelError(
                f"{loaded.name}: its chat template changes earlier turns when a later one is added, so the answers "
                "in a conversation cannot be located. Use a model with another template, or with none."
            )
        yield prompt[len(previous) :], False
        yield whole[len(prompt) :], True
        previous = whole


def _rendered(
    loaded: LoadedModel, chats: Sequence[Messages], prefixes: Callable[[Messages], Prefixes]
) -> list[list[str]]:
    try:
        return renderer(*_template_of(loaded)).render([(chat, prefixes(chat)) for chat in chats])
    except TemplateFault as error:
        raise _refused(loaded, error) from error


@lru_cache(maxsize=8)
def _exchange(template: str, variables: str) -> str | TemplateFault:
    """The text of `_EXCHANGE`, which each engine needs; a fault is cached too, since it may have taken seconds."""
    try:
        return renderer(template, variables).render([(_EXCHANGE, [(len(_EXCHANGE), False)])])[0][0]
    except TemplateFault as error:
        return error


def _template_of(loaded: LoadedModel) -> tuple[str, str]:
    """The chat template, and the other variables that it can read, as JSON."""
    template = loaded.tokenizer.chat_template
    if not isinstance(template, str):
        raise ModelError(f"{loaded.name}: it has no chat template, so it does not support conversations.")
    return template, json.dumps(loaded.tokenizer.special_tokens_map, sort_keys=True, default=str)


def _refused(loaded: LoadedModel, fault: TemplateFault) -> ModelError:
    return ModelError(f"{loaded.name}: its chat template rejects this conversation ({fault}).")


def _joined(loaded: LoadedModel, segments: Sequence[tuple[list[int], bool]], *, ends: Sequence[int]) -> EncodedChat:
    ids: list[int] = []
    answers: list[tuple[int, int]] = []
    for tokens, is_answer in segments:
        if is_answer:
            # The last end token: some templates write a line end after it.
            last = max((index for index, token in enumerate(tokens) if token in ends), default=None)
            if last is None:
                raise ModelError(
                    f"{loaded.name}: its chat template does not end answers with {loaded.tokenizer.eos_token} or another "
                    "special token, so the model would never learn to stop. Use a model with another template, or "
                    "with none."
                )
            answers.append((len(ids), len(ids) + last + 1))
        ids += tokens
    return EncodedChat(ids, answers)

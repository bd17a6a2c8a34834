"""Conversations under a length limit: which turns are left out, and how that is counted and logged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.data.examples import ExampleBuilder, Examples, Origin
from llmkit.data.lengths import LengthCount, Overflow
from llmkit.models.chat import EncodedChat, Messages, contents_of, encode_chats, newest_that_fit
from llmkit.models.loaded import LoadedModel
from llmkit.tasks.targets import TargetCheck
from llmkit.tasks.unknown import UnknownCount, with_unknown

logger = logging.getLogger("llmkit")


@dataclass
class FittedChats:
    """Examples of conversations as they are made, and the counts of what did not fit."""

    loaded: LoadedModel
    max_tokens: int
    overflow: Overflow
    exchanges_left_out: int = 0
    """Questions with their answers that are in no example."""
    rows_left_out: int = 0
    """Rows whose last exchange alone is too long."""
    windows: int = 0
    origin: Origin | None = None
    """Of the row that is being added."""
    every_row: bool = False
    """Rows of which nothing fits stay, without an example: they can be answered all the same."""

    def __post_init__(self) -> None:
        self.count = LengthCount(what="conversation", max_tokens=self.max_tokens, overflow=self.overflow)
        self._builder = ExampleBuilder("input_ids", aligned=("answer_places",))
        tokenizer = self.loaded.tokenizer
        self.unknown = UnknownCount(tokenizer, "conversation")
        self.answers = UnknownCount(tokenizer, "answer", targets=TargetCheck(self.loaded))

    def add(self, chats: Sequence[tuple[EncodedChat, int]], *, chat: Messages, answer: int = -1) -> None:
        """Add a row: its examples, each with the number of its last answers that count in the loss.

        Args:
            answer: the message that a prediction is compared with.
        """
        columns = {
            "input_ids": [chat.ids for chat, _ in chats],
            # start and end of the answers that count, one after another
            "answer_places": [[place for span in chat.answers[-count:] for place in span] for chat, count in chats],
        }
        reference = chat[answer]["content"].strip()
        self._builder.add(columns, reference=reference, origin=self.origin, source=chat[:answer])

    def add_none(self, chat: Messages) -> None:
        """Add a row of which nothing fits, if every row is to stay."""
        if self.every_row:
            self.add([], chat=chat)

    def examples(self) -> Examples:
        return with_unknown(self._builder.examples(), self.unknown, self.answers)

    def report(self) -> None:
        """Log the lengths and what was left out.

        Raises:
            DataError: something is too long and the policy is `error`.
        """
        done: str | None = None
        if self.overflow == "truncate":
            old = f"{self.exchanges_left_out:,} old questions left out with their answers"
            alone = f"{self.rows_left_out:,} rows left out, whose last turn alone is longer"
            counted = ((self.exchanges_left_out, old), (self.rows_left_out, alone))
            done = "cut by whole turns: " + "; ".join(words for count, words in counted if count)
        elif self.overflow == "window":
            done = f"made {self.windows:,} more examples, one for each later answer"
        self.count.report(key="max_tokens", targets=True, done=done)
        if self.overflow == "window" and self.exchanges_left_out:
            logger.warning("conversation: %s answers are left out: their turn alone is longer", self.exchanges_left_out)


def fit_chats(loaded: LoadedModel, chats: Sequence[Messages], origins: Sequence[Origin], *, into: FittedChats) -> None:
    """Encode conversations and add what fits, under the policy of `into`."""
    whole = encode_chats(loaded, chats)
    into.unknown.add([contents_of(chat) for chat in chats], [encoded.ids for encoded in whole])
    for chat, encoded in zip(chats, whole, strict=True):
        texts = [message["content"] for message in chat if message["role"] == "assistant"]
        into.answers.add(texts, [encoded.ids[start : end - 1] for start, end in encoded.answers])
    for chat, encoded, origin in zip(chats, whole, origins, strict=True):
        into.origin = origin
        if into.count.fits(len(encoded.ids), place=origin.place):
            into.add([(encoded, len(encoded.answers))], chat=chat)
        elif into.overflow == "truncate":
            _truncate(loaded, chat, into=into)
        elif into.overflow == "window":
            _cut_into_windows(loaded, chat, into=into)


def _truncate(loaded: LoadedModel, chat: Messages, *, into: FittedChats) -> None:
    exchanges = len(chat) // 2
    fitting = _with_history(loaded, chat, max_tokens=into.max_tokens)
    if fitting is None:
        into.rows_left_out += 1
        into.add_none(chat)
        return
    into.exchanges_left_out += exchanges - len(fitting.answers)
    into.add([(fitting, len(fitting.answers))], chat=chat)


def _cut_into_windows(loaded: LoadedModel, chat: Messages, *, into: FittedChats) -> None:
    """As many exchanges as fit from the start, all answers counting; then each later answer with as much history as
    fits, only that answer counting. So each answer counts once."""
    examples: list[tuple[EncodedChat, int]] = []
    last = len(chat)
    first = 1 if chat[0]["role"] == "system" else 0
    for end in range(first + 2, len(chat) + 1, 2):
        fitting = _with_history(loaded, chat[:end], max_tokens=into.max_tokens)
        if fitting is None:
            into.exchanges_left_out += 1
            continue
        last = end
        grows = examples and len(fitting.answers) == (end - first) // 2 == examples[0][1] + 1
        if grows:
            examples = [(fitting, len(fitting.answers))]
        else:
            examples.append((fitting, 1))
    if examples:
        into.windows += len(examples) - 1
        into.add(examples, chat=chat, answer=-1 if into.every_row else last - 1)
    else:
        into.add_none(chat)


def _with_history(loaded: LoadedModel, chat: Messages, *, max_tokens: int) -> EncodedChat | None:
    """The conversation with as many of its newest exchanges as fit; None where the last alone does not."""
    _, encoded = newest_that_fit(chat, lambda part: encode_chats(loaded, [part])[0], room=max_tokens)
    return encoded if len(encoded) <= max_tokens else None

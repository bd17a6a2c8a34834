"""What a model continues or answers: a text, with a prefix of its own or the conversation before it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.errors import DataError
from llmkit.models.chat import Messages
from llmkit.models.loaded import LoadedModel
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.decoding import TextDecoder, Written
from llmkit.tasks.engine import Engine
from llmkit.tasks.instruction.predict import FittedPrompt, answer_fitted, fit_prompts, too_long

logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class Prompt:
    text: str
    """What the user says, for a chat model."""
    prefix: str | None = None
    """In place of the prefix that the model was trained with."""
    history: Messages = ()
    """The conversation before it, for a chat model."""

    @property
    def chat(self) -> Messages:
        return [*self.history, {"role": "user", "content": self.text}]


class AnsweredPrompts:
    """Answers of a chat model to several prompts, as in its evaluation, and counts of what had too little room."""

    def __init__(self, loaded: LoadedModel, engine: Engine, options: GenerationBlock) -> None:
        """`options.max_new_tokens` must be set."""
        self._loaded = loaded
        self._engine = engine
        self._options = options
        self._decoder = TextDecoder(loaded, keep_special=options.keep_special)
        self._prompts = self._shortened = self._unread = 0

    def texts(self, prompts: Sequence[Prompt], *, first_row: int) -> list[list[Written]]:
        """The answers to each prompt, `num_return_sequences` of them.

        Raises:
            DataError: a prompt that is too long alone, with its row.
        """
        chats = [prompt.chat for prompt in prompts]
        fitted = []
        for row, (chat, prompt) in enumerate(
            zip(chats, fit_prompts(self._loaded, chats, options=self._options), strict=True), start=first_row
        ):
            if prompt is None:
                raise DataError(f"row {row:,}: {too_long(self._loaded, chat)}")
            fitted.append(prompt)
        self._count(fitted)
        return answer_fitted(self._engine, fitted, decoder=self._decoder)

    def report(self) -> None:
        self._decoder.report()
        for count, fault in (
            (self._shortened, f"leave room for less than max_new_tokens {self._options.max_new_tokens:,}"),
            (self._unread, "have oldest messages that are not read"),
        ):
            if count:
                message = "%s of %s prompts %s: %s has %s tokens"
                numbers = (f"{count:,}", f"{self._prompts:,}")
                logger.warning(message, *numbers, fault, self._loaded.name, f"{self._loaded.window:,}")

    def _count(self, fitted: Sequence[FittedPrompt]) -> None:
        self._prompts += len(fitted)
        self._shortened += sum(prompt.limit < self._options.new_tokens(len(prompt.ids)) for prompt in fitted)
        self._unread += sum(prompt.unread_messages > 0 for prompt in fitted)

"""The verbs of an opened model that write text: generate, summarize, translate and chat."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmkit.api.chats import check_messages
from llmkit.api.model_options import OptionsLog, model_options, prompt_config
from llmkit.api.prompt_rows import given_prompts, prompt_rows
from llmkit.api.texts import InputRow
from llmkit.api.verbs import USES, Verb
from llmkit.data.given import given_text, given_texts
from llmkit.errors import UsageError
from llmkit.inference.prompts import Prompt
from llmkit.inference.text import Generation, generate_texts, stream_text, summarize_in_parts, summarize_texts
from llmkit.models.chat import Messages, check_chat_model, is_chat_model
from llmkit.models.languages import directed
from llmkit.recipe.blocks import Quoting
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.base import WRITING_HEADS
from llmkit.tasks.decoding import LimitCount
from llmkit.tasks.inputs import Overflow
from llmkit.tasks.instruction.predict import Reply, answer_chat, stream_chat
from llmkit.tasks.seq2seq.saved import (
    SavedSeq2Seq,
    SavedTextToText,
    summarization_config,
    translation_config,
    translation_direction,
)

if TYPE_CHECKING:
    from llmkit.inference.engines.transformers import TransformersEngine
    from llmkit.models.families import Head
    from llmkit.models.loaded import LoadedModel


class WritingModel:
    """A model with an engine."""

    def __init__(self, loaded: LoadedModel, engine: TransformersEngine, *, head: Head) -> None:
        """`head` is the one that the model was opened with."""
        self.loaded = loaded
        self._engine = engine
        self._head = head
        self._options_log = OptionsLog()

    @property
    def chats(self) -> bool:
        """Whether it was trained on conversations."""
        return is_chat_model(self.loaded)

    @property
    def continues(self) -> bool:
        """Whether its output continues the prompt (GPT-2) or answers it (T5, and chat models)."""
        return self.loaded.family.continues_prompts and not self.chats

    def require_chat(self) -> None:
        """
        Raises:
            ModelError: it was not trained on conversations.
        """
        check_chat_model(self.loaded)

    def chat(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Reply:
        """The assistant's next turn; the options are the keys of `GenerationBlock`.

        Args:
            messages: `role` (system, user, assistant) and `content` each, the last one the user's. Of a conversation
                that is too long the oldest turns are not read; which is logged, and recorded in the answer.
        """
        block = self._chat_options(options)
        reply = answer_chat(self.loaded, self._engine, self._conversation(messages), options=block)
        cut_answers = LimitCount(block, what="answers")
        cut_answers.add(reply.finished)
        cut_answers.report()
        return reply

    def stream_chat(
        self, messages: Sequence[Mapping[str, str]], *, on_end: Callable[[bool], None] | None = None, **options: Any
    ) -> Generator[str, None, None]:
        """The text of `chat` in chunks, as they are generated.

        Args:
            on_end: called after the last chunk with whether the answer ended by itself, not at its length limit;
                without it, a warning is logged in the latter case.
        """
        block = self._chat_options(options)
        cut_answers = LimitCount(block, what="answers")
        prompt = self._conversation(messages)
        yield from stream_chat(self.loaded, self._engine, prompt, options=block, on_end=on_end or cut_answers.add)
        cut_answers.report()

    def generate(
        self,
        prompts: Iterable[str | Prompt],
        *,
        overflow: Overflow | None = None,
        raw: bool = False,
        rows_before: int = 0,
        **options: Any,
    ) -> Iterator[Generation]:
        """Continuations of each prompt; the options are the keys of `GenerationBlock`.

        Args:
            overflow: without it, what a text-to-text model was trained with, else `error`.
            raw: a chat model, too, continues the prompt unchanged; else it answers it as a user's message.
            rows_before: prompts that were read earlier; see `generate_texts`.
        """
        self._check_head("generate")
        trained = SavedTextToText.load(self.loaded).overflow
        return generate_texts(
            self.loaded,
            self._engine,
            given_prompts(prompts),
            options=self.options(options),
            prefix=self._prompt_prefix,
            overflow=overflow or ("truncate" if trained == "truncate" else "error"),
            as_turns=self.chats and not raw,
            rows_before=rows_before,
        )

    def generate_rows(
        self,
        source: str | Path,
        *,
        column: str | None = None,
        by_line: bool = True,
        quoting: Quoting = "auto",
        overflow: Overflow | None = None,
        raw: bool = False,
        **options: Any,
    ) -> Iterator[Generation]:
        """As `generate`, for the rows of a file, which are read as in training; see `prompt_rows`."""
        rows = self.prompt_rows(source, column=column, by_line=by_line, quoting=quoting, raw=raw)
        return self.generate((row.value for row in rows), overflow=overflow, raw=raw, **options)

    def prompt_rows(
        self,
        source: str | Path,
        *,
        column: str | None = None,
        by_line: bool = True,
        quoting: Quoting = "auto",
        raw: bool = False,
    ) -> Iterator[InputRow[str | Prompt]]:
        """The prompts of a file for this model; see `llmkit.api.prompt_rows`."""
        return prompt_rows(
            source,
            chats=self.chats and not raw,
            prefixes=SavedTextToText.is_in(self.loaded),
            column=column,
            by_line=by_line,
            quoting=quoting,
        )

    def stream(self, prompt: str, *, raw: bool = False, **options: Any) -> Iterator[str]:
        """The first continuation in chunks, as they are generated."""
        self._check_head("generate")
        as_turn = self.chats and not raw
        prefixed = self._prompt_prefix + given_text(prompt, what="prompt")
        return stream_text(self.loaded, self._engine, prefixed, options=self.options(options), as_turn=as_turn)

    def summarize(
        self,
        texts: Iterable[str],
        *,
        overflow: Overflow | Literal["window"] | None = None,
        rows_before: int = 0,
        **options: Any,
    ) -> Iterator[Generation]:
        """A summary of each text; the options are the keys of `GenerationBlock`.

        Args:
            overflow: without it, `window` if the model was trained with it, else `truncate`.
            rows_before: as in `generate`.
        """
        self._check_head("summarize")
        saved = summarization_config(self.loaded)
        block, prefix = self.options(options, saved=saved), saved.prefix or ""
        texts = given_texts(texts)
        overflow = overflow or saved.overflow or "truncate"
        if overflow == "window":
            overlap = saved.window_overlap
            return summarize_in_parts(
                self.loaded, self._engine, texts, options=block, prefix=prefix, overlap_tokens=overlap
            )
        return summarize_texts(
            self.loaded,
            self._engine,
            texts,
            options=block,
            prefix=prefix,
            overflow=overflow,
            rows_before=rows_before,
        )

    def translate(
        self,
        texts: Iterable[str],
        *,
        source_language: str | None = None,
        target_language: str | None = None,
        overflow: Overflow = "truncate",
        rows_before: int = 0,
        **options: Any,
    ) -> Iterator[Generation]:
        """A translation of each text; the options are the keys of `GenerationBlock`.

        Args:
            source_language: code or English name; needed where the model knows several pairs.
            target_language: as `source_language`.
            rows_before: as in `generate`.
        Raises:
            UsageError: the model does not translate these languages; the message lists those it does.
            ModelError: the model does not translate.
        """
        self._check_head("translate")
        saved = translation_config(self.loaded, source=source_language, target=target_language)
        direction = translation_direction(self.loaded, source=source_language, target=target_language)
        loaded, keys = (self.loaded, {}) if direction is None else directed(self.loaded, direction)
        return summarize_texts(
            loaded,
            self._engine,
            given_texts(texts),
            options=self.options(options, saved=saved).model_copy(update=keys),
            prefix=saved.prefix or "",
            overflow=overflow,
            rows_before=rows_before,
        )

    def options(self, values: Mapping[str, Any], *, saved: SavedSeq2Seq | None = None) -> GenerationBlock:
        """The options that are not None, else the model's, else llmkit's defaults.

        Args:
            saved: what the model's config says about the task; without it, about text of any kind.
        Raises:
            UsageError: an option outside its range, with the range.
        """
        saved = saved or prompt_config(self.loaded)
        block = model_options(self.loaded, values, saved=saved)
        self._options_log.add(self.loaded, values, saved=saved)
        return block

    def _chat_options(self, values: Mapping[str, Any]) -> GenerationBlock:
        block = self.options(values)
        if block.num_return_sequences > 1:
            raise UsageError("num_return_sequences: a conversation goes on with one answer. Leave it out.")
        return block

    def _conversation(self, messages: Sequence[Mapping[str, str]]) -> Messages:
        self.require_chat()
        return check_messages(messages)

    @property
    def _prompt_prefix(self) -> str:
        return prompt_config(self.loaded).prefix or ""

    def _check_head(self, verb: Verb) -> None:
        """
        Raises:
            UsageError: the model was opened for another verb, whose results this one would misread.
        """
        heads = WRITING_HEADS if verb == "generate" else {USES[verb].head}  # T5 generates, too, with another head
        if self._head not in heads:
            name = self.loaded.name
            raise UsageError(f"{name} was opened for another use. Open it with llmkit.load({name!r}, verb={verb!r}).")

"""The methods of an opened model, one for each verb; `llmkit/api/loading.py` opens it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import Unpack

from llmkit.api.chats import check_messages
from llmkit.api.model_options import OptionsLog, model_options, prompt_config
from llmkit.api.prompt_rows import given_prompts, prompt_rows
from llmkit.api.texts import InputRow, choice_rows
from llmkit.api.verbs import USES, Verb
from llmkit.data.given import (
    given_pairs,
    given_text,
    given_texts,
    given_texts_or_pairs,
    given_texts_or_words,
    given_values,
)
from llmkit.data.vectors import check_search
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.inference.embedding import (
    Embedded,
    EmbedOptions,
    EmbedOverflow,
    embed_texts,
    vector_options,
)
from llmkit.inference.filling import Filling, FillOverflow, fill_texts
from llmkit.inference.nearest_rows import Found
from llmkit.inference.prompts import Prompt
from llmkit.inference.searching import search_texts
from llmkit.inference.text import Generation, generate_texts, stream_text, summarize_in_parts, summarize_texts
from llmkit.models.chat import Messages, is_chat_model
from llmkit.recipe.blocks import Quoting
from llmkit.recipe.generation import GenerationBlock
from llmkit.tasks.base import WRITING_HEADS
from llmkit.tasks.classification.predict import Classification, ClassifyOverflow, classify_texts, reads_pairs
from llmkit.tasks.classification.problem_types import ProblemType, problem_type_of
from llmkit.tasks.classification.thresholds import threshold_in_use
from llmkit.tasks.decoding import LimitCount
from llmkit.tasks.inputs import Overflow
from llmkit.tasks.instruction.predict import Reply, answer_chat, stream_chat
from llmkit.tasks.multiple_choice.choices import Question
from llmkit.tasks.multiple_choice.predict import Choice, ChooseOverflow, choose
from llmkit.tasks.question_answering.predict import Answer, answer_options, answer_questions
from llmkit.tasks.seq2seq.saved import SavedSeq2Seq, SavedTextToText, summarization_config, translation_config
from llmkit.tasks.similarity import Similarity
from llmkit.tasks.token_classification.predict import Tagging, TagOverflow, finds_entities, tag_texts
from llmkit.tasks.token_classification.saved import SavedTokenClassification
from llmkit.tasks.token_classification.subwords import overlap_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmkit.inference.engines.transformers import TransformersEngine
    from llmkit.models.families import Head
    from llmkit.models.loaded import LoadedModel

logger = logging.getLogger("llmkit")


class Model:
    """A model with an engine. All verbs take any number of texts, keep their order, and yield results as they are ready."""

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
        if not self.chats:
            raise ModelError(
                f"{self.loaded.name}: it has no chat template, so it was not trained on conversations. Train it with "
                "`task: instruction`, or continue texts with `llmkit generate`."
            )

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

    @property
    def finds_entities(self) -> bool:
        """Whether its tags are those of entities, or plain ones such as parts of speech."""
        return finds_entities(self.loaded)

    def answer(self, question: str, context: str) -> Answer:
        """The span of the context that answers the question, or none; see `answer_questions` for errors."""
        pair = given_text(question, what="question"), given_text(context, what="context")
        return next(self.answer_many([pair]))

    def answer_many(self, pairs: Iterable[tuple[str, str]]) -> Iterator[Answer]:
        """The answer to each (question, context), in their order."""
        self._check_head("answer")
        given = given_pairs(pairs)
        return answer_questions(self.loaded, self._engine, given, options=answer_options(self.loaded))

    def choose(
        self, questions: Iterable[Mapping[str, Any] | Question], *, overflow: ChooseOverflow | None = None
    ) -> Iterator[Choice]:
        """The most probable choice of each question; see `tasks.multiple_choice.predict.choose` for errors.

        Args:
            questions: mappings with `choices`, a list of 2 to 10 texts, and `context`, `question` or both.
        """
        self._check_head("choose")
        given = enumerate(given_values(questions, what="questions"), 1)
        rows = (Question.of(question, place=f"row {row:,}") for row, question in given)
        return choose(self.loaded, self._engine, rows, overflow=overflow)

    def choose_rows(
        self,
        source: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        quoting: Quoting = "auto",
        overflow: ChooseOverflow | None = None,
    ) -> Iterator[Choice]:
        """As `choose`, for the rows of a file; `columns` maps a field such as `context` to its column."""
        self._check_head("choose")
        rows = choice_rows(source, columns=columns or {}, quoting=quoting)
        return choose(self.loaded, self._engine, map(_question, rows), overflow=overflow)

    @property
    def reads_pairs(self) -> bool | None:
        """Whether a classifier was trained on pairs of texts; None where its config does not say."""
        return reads_pairs(self.loaded)

    @property
    def problem_type(self) -> ProblemType:
        """What a classifier predicts: one label, many labels or a number."""
        return problem_type_of(self.loaded)

    def classify(
        self,
        texts: Iterable[str | tuple[str, str]],
        *,
        overflow: ClassifyOverflow | None = None,
        threshold: float | Mapping[str, float] | None = None,
    ) -> Iterator[Classification]:
        """Label, labels or number of each text or (text, text_pair); see `classify_texts` for errors, for thresholds
        and for long texts."""
        self._check_head("classify")
        threshold_in_use(self.loaded, threshold)  # an error now, not with the first result
        given = given_texts_or_pairs(texts)
        return classify_texts(self.loaded, self._engine, given, overflow=overflow, threshold=threshold)

    @property
    def dimension(self) -> int:
        """Numbers of a vector that `embed` gives without options."""
        return vector_options(self.loaded).dimension

    @property
    def similarity(self) -> Similarity:
        """What `search` compares vectors by: as the folder of sentence-transformers says, else the cosine."""
        return self.loaded.sentence.similarity if self.loaded.sentence else "cosine"

    def embed(
        self, texts: Iterable[str], *, overflow: EmbedOverflow = "truncate", **options: Unpack[EmbedOptions]
    ) -> NDArray[np.float32]:
        """(N, D) the vector of each text, in their order; see `embed_texts` for errors and long texts.

        Args:
            options: as in `vector_options`. Those that are left out are as a folder of sentence-transformers says;
                for any other model, the vector is the mean, scaled to unit length.
        Raises:
            UsageError: the model was opened for another verb, or the options do not fit it.
        """
        import numpy as np

        chunks = self.embed_stream(texts, overflow=overflow, **options)
        none = np.empty((0, vector_options(self.loaded, **options).dimension), dtype=np.float32)
        return np.concatenate([none, *(chunk.vectors for chunk in chunks)])

    def embed_stream(
        self, texts: Iterable[str], *, overflow: EmbedOverflow = "truncate", **options: Unpack[EmbedOptions]
    ) -> Iterator[Embedded]:
        """As `embed`, in batches of texts with their vectors, in bounded memory."""
        self._check_head("embed")
        wanted = vector_options(self.loaded, **options)
        return embed_texts(self.loaded, self._engine, given_texts(texts), options=wanted, overflow=overflow)

    def search(
        self,
        queries: Iterable[str],
        texts: Iterable[str],
        *,
        top_k: int = 5,
        overflow: EmbedOverflow = "truncate",
        query_prompt: str | None = None,
        query_prompt_name: str | None = None,
        **options: Unpack[EmbedOptions],
    ) -> list[list[Found]]:
        """For each query the texts whose vectors are nearest to its own, the nearest first; see `similarity`.

        Exact, in bounded memory: the texts are read once, and only the best are kept.

        Args:
            query_prompt: in front of each query; without it, the folder's prompt for queries, else its default.
            options: as in `embed`; without a prompt, texts get the folder's prompt for documents, else its default.
        Raises:
            UsageError: no query, `top_k` below 1, or as `embed`.
        """
        self._check_head("embed")
        texts = given_texts(texts)
        asked = list(given_texts(queries, what="queries"))
        check_search(asked, top_k=top_k)
        of_query: EmbedOptions = {**options, "prompt": query_prompt, "prompt_name": query_prompt_name}
        return search_texts(
            self.loaded,
            self._engine,
            asked,
            texts,
            top_k=top_k,
            similarity=self.similarity,
            overflow=overflow,
            query_options=of_query,
            text_options=options,
        )

    def fill(self, texts: Iterable[str], *, top_k: int = 5, overflow: FillOverflow = "window") -> Iterator[Filling]:
        """The most probable tokens for each mask of each text; see `fill_texts` for masks, errors and long texts.

        Raises:
            UsageError: the model was opened for another verb.
        """
        self._check_head("fill")
        return fill_texts(self.loaded, self._engine, given_texts(texts), top_k=top_k, overflow=overflow)

    def _check_head(self, verb: Verb) -> None:
        """
        Raises:
            UsageError: the model was opened for another verb, whose results this one would misread.
        """
        heads = WRITING_HEADS if verb == "generate" else {USES[verb].head}  # T5 generates, too, with another head
        if self._head not in heads:
            name = self.loaded.name
            raise UsageError(f"{name} was opened for another use. Open it with llmkit.load({name!r}, verb={verb!r}).")

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
        block, prefix = self.options(options, saved=saved), saved.prefix or ""
        return summarize_texts(
            self.loaded,
            self._engine,
            given_texts(texts),
            options=block,
            prefix=prefix,
            overflow=overflow,
            rows_before=rows_before,
        )

    def tag(self, texts: Iterable[str | Sequence[str]], *, overflow: TagOverflow | None = None) -> Iterator[Tagging]:
        """Entities of each text, or tags of its words; see `tag_texts` for errors and long texts.

        Args:
            texts: each a text, or a list of words, which are tagged as they are.
            overflow: without it, what the model was trained with, else `window`.
        """
        self._check_head("tag")
        saved = SavedTokenClassification.load(self.loaded)
        overlap = overlap_of(self.loaded.window, saved.window_overlap)
        policy = overflow or saved.overflow or "window"
        return tag_texts(self.loaded, self._engine, given_texts_or_words(texts), overflow=policy, overlap=overlap)

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


def _question(row: InputRow[Question]) -> Question:
    if row.empty is not None:
        raise DataError(f"{row.place}: {row.empty}; remove the row or fill it")
    return row.value

"""The methods of an opened model, one for each verb; those that write text are in `writing.py`. `loading.py` opens it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from llmkit.api.abstaining import AbstainLimit, choose_abstain_limit
from llmkit.api.texts import InputRow, choice_rows
from llmkit.api.writing import WritingModel
from llmkit.data.given import (
    given_pairs,
    given_text,
    given_texts,
    given_texts_or_pairs,
    given_texts_or_words,
    given_values,
)
from llmkit.data.vectors import check_search
from llmkit.errors import DataError, UsageError
from llmkit.inference.embedding import (
    Embedded,
    EmbedOptions,
    EmbedOverflow,
    embed_texts,
    vector_options,
)
from llmkit.inference.filling import Filling, FillOverflow, fill_texts
from llmkit.inference.nearest_rows import Found
from llmkit.inference.searching import search_texts
from llmkit.recipe.blocks import Quoting
from llmkit.tasks.classification.predict import Classification, ClassifyOverflow, classify_texts, reads_pairs
from llmkit.tasks.classification.problem_types import ProblemType, problem_type_of
from llmkit.tasks.classification.thresholds import abstain_limit_in_use, threshold_in_use
from llmkit.tasks.multiple_choice.choices import Question
from llmkit.tasks.multiple_choice.predict import Choice, ChooseOverflow, choose
from llmkit.tasks.question_answering.predict import Answer, answer_options, answer_questions
from llmkit.tasks.similarity import Similarity
from llmkit.tasks.token_classification.predict import Tagging, TagOverflow, finds_entities, tag_texts
from llmkit.tasks.token_classification.saved import SavedTokenClassification
from llmkit.tasks.token_classification.subwords import overlap_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Model(WritingModel):
    """A model with an engine. All verbs take any number of texts, keep their order, and yield results as they are ready."""

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
        abstain_below: float | None = None,
        abstain_accuracy: float | None = None,
    ) -> Iterator[Classification]:
        """Label, labels or number of each text or (text, text_pair); see `classify_texts` for errors, for thresholds,
        for texts that get no label and for long texts.

        Args:
            abstain_accuracy: in place of `abstain_below`, the limit of `abstain_limit`.
        """
        self._check_head("classify")
        threshold_in_use(self.loaded, threshold)  # an error now, not with the first result
        if abstain_accuracy is not None:
            if abstain_below is not None:
                raise UsageError("abstain_accuracy chooses abstain_below. Give one of the two.")
            abstain_below = self.abstain_limit(abstain_accuracy).below
        abstain_limit_in_use(self.loaded, abstain_below)
        given = given_texts_or_pairs(texts)
        return classify_texts(
            self.loaded, self._engine, given, overflow=overflow, threshold=threshold, abstain_below=abstain_below
        )

    def abstain_limit(self, accuracy: float) -> AbstainLimit:
        """The probability below which a text should get no label, so that the labels have at least this accuracy.

        Chosen on the validation rows of the run, as the recipe's `abstain` does; see `choose_abstain_limit` for errors.
        """
        self._check_head("classify")
        abstain_limit_in_use(self.loaded, 0)  # refuse a model that cannot abstain
        return choose_abstain_limit(self.loaded.name, self.loaded.labels, accuracy=accuracy)

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


def _question(row: InputRow[Question]) -> Question:
    if row.empty is not None:
        raise DataError(f"{row.place}: {row.empty}; remove the row or fill it")
    return row.value

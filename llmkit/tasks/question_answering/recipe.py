"""The recipe of extractive question answering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from llmkit.models.families import Head, families_with
from llmkit.recipe.blocks import ColumnType
from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.draft import TaskDraft
from llmkit.tasks.question_answering.draft import QuestionAnsweringDraft
from llmkit.tasks.question_answering.rows import located_answers
from llmkit.tasks.question_answering.saved import SavedQuestionAnswering

if TYPE_CHECKING:
    from llmkit.data.rows import Row
    from llmkit.models.loaded import LoadedModel


class QuestionAnsweringRecipe(TaskRecipe):
    HEAD: ClassVar[Head] = "question-answering"
    VERB: ClassVar[str] = "answer"
    USE: ClassVar[str] = 'llmkit answer --question "..." FILE --model {model}'
    PURPOSE: ClassVar[str] = "finds the answer to a question in a given text"
    PIPELINE_TAG: ClassVar[str] = "question-answering"
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {"context": "text", "question": "text", "answers": "answers"}
    READ_FIELDS: ClassVar[tuple[str, ...]] = ("context", "question")
    CLUSTER_FIELD: ClassVar[str] = "context"
    TARGET_FIELDS: ClassVar[tuple[str, ...]] = ("answers",)
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("question-answering")
    METRICS: ClassVar[tuple[str, ...]] = ("squad",)
    BEST: ClassVar[str] = "answer_f1"
    BASELINES: ClassVar[tuple[str, ...]] = ("no-answer", "closest-sentence")
    DRAFT: ClassVar[TaskDraft] = QuestionAnsweringDraft()

    task: Literal["question-answering"]
    max_tokens: Annotated[int, Field(ge=16)] | None = None
    """The longest sequence of question, context and special tokens; without it, the model's window."""
    window_overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that neighbouring windows of a context share; without it, a quarter of the window."""
    overflow: Literal["error", "truncate", "drop", "window"] = "window"
    """What happens to longer contexts, always with counts."""
    max_answer_tokens: Annotated[int, Field(ge=1, le=1000)] = 30
    """The longest answer that is predicted."""
    no_answer_threshold: float = 0.0
    """No answer is predicted where the null score exceeds the best answer's by more than this."""

    @property
    def overflow_in_use(self) -> str | None:
        """`answer` reads every context whole."""
        return None if self.overflow == "window" else "window"

    @property
    def window_tokens(self) -> int | None:
        return self.max_tokens

    def check_row(self, row: Row, labels: Sequence[str] | None) -> None:
        located_answers(row)

    @classmethod
    def keys_of_model(cls, loaded: LoadedModel) -> dict[str, Any]:
        return SavedQuestionAnswering.load(loaded).model_dump(exclude_none=True, exclude={"no_answer"})

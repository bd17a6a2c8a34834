"""The recipe of multiple choice: which of two to ten texts answers a question or continues a context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from llmkit.models.families import Head, families_with
from llmkit.recipe.blocks import ColumnType
from llmkit.tasks.base import Baseline, TaskRecipe
from llmkit.tasks.draft import TaskDraft
from llmkit.tasks.multiple_choice.baselines import BASELINES
from llmkit.tasks.multiple_choice.choices import MOST_CHOICES, AnswerSpelling, check_question
from llmkit.tasks.multiple_choice.draft import MultipleChoiceDraft
from llmkit.tasks.multiple_choice.saved import SavedMultipleChoice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmkit.data.rows import Row
    from llmkit.models.loaded import LoadedModel

_ENDINGS = tuple(f"ending{number}" for number in range(MOST_CHOICES))


class MultipleChoiceRecipe(TaskRecipe):
    # A classifier with one output: the score of a context with one of its choices. BertForMultipleChoice is the same.
    HEAD: ClassVar[Head] = "classification"
    VERB: ClassVar[str] = "choose"
    USE: ClassVar[str] = 'llmkit choose --question "..." --choice "..." --choice "..." --model {model}'
    PURPOSE: ClassVar[str] = "chooses the answer to a question among given ones"
    PIPELINE_TAG: ClassVar[str] = "multiple-choice"
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {
        "context": "text",
        "question": "text",
        "choices": "words",
        **dict.fromkeys(_ENDINGS, "text"),
        "answer": "label",
    }
    OPTIONAL_FIELDS: ClassVar[Mapping[str, bool]] = {
        "context": True,
        "question": True,
        **dict.fromkeys(_ENDINGS[2:], True),
    }
    FIELD_GROUPS: ClassVar[tuple[tuple[str, ...], ...]] = (("choices",), _ENDINGS[:2])
    """The choices as a list (RACE), or in columns of their own (SWAG)."""
    READ_FIELDS: ClassVar[tuple[str, ...]] = ("context", "choices", "ending0", "question")
    CLUSTER_FIELD: ClassVar[str] = "context"
    TARGET_FIELDS: ClassVar[tuple[str, ...]] = ("answer",)
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("question-answering")  # encoders that read two texts
    METRICS: ClassVar[tuple[str, ...]] = ("accuracy",)
    BEST: ClassVar[str] = "accuracy"
    DRAFT: ClassVar[TaskDraft] = MultipleChoiceDraft()

    task: Literal["multiple-choice"]
    answer_as: AnswerSpelling = "auto"
    """How rows name the correct choice: its `index` from 0, its `letter` from A, or its `text`; `auto` detects it."""
    distractors: Annotated[int, Field(ge=1, le=MOST_CHOICES - 1, examples=[3])] | None = None
    """For rows without choices, whose `answer` is the correct text: the number of answers of other rows to add, drawn
    with `train.seed`."""
    max_tokens: Annotated[int, Field(ge=8)] | None = None
    """The longest sequence of context, question and one choice, special tokens included; without it, the model's
    window."""
    overflow: Literal["error", "truncate", "drop"] = "truncate"
    """What happens to rows with a longer sequence, always with counts."""

    calibrate: Literal["temperature"] | None = None
    """`temperature` divides the scores of the choices by a number that is fitted on the validation rows (Guo et al. 2017), so
    that probabilities say how often a choice is right."""

    @property
    def column_types(self) -> Mapping[str, ColumnType]:
        if self.distractors is None:
            return self.COLUMN_TYPES
        return {"context": "text", "question": "text", "answer": "text"}

    @property
    def window_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def fitting_metrics(self) -> tuple[str, ...]:
        return ("accuracy", "confusion", "ece", "brier", "nll")

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*super().metrics, *(("ece",) if self.calibrate else ()))))

    def class_names(self, rows: Iterable[Row]) -> tuple[str, ...]:
        return ("LABEL_0",)  # transformers' name of a single output

    @model_validator(mode="after")
    def _distractors_fit(self) -> MultipleChoiceRecipe:
        if self.distractors is not None and self.answer_as not in ("auto", "text"):
            raise ValueError("answer_as: with distractors, the answer is the correct text")
        return self

    def task_baselines(self) -> tuple[Baseline, ...]:
        return BASELINES

    def check_row(self, row: Row, labels: Sequence[str] | None) -> None:
        check_question(row, distractors=self.distractors, answer_as=self.answer_as)

    @classmethod
    def has_trained(cls, loaded: LoadedModel) -> bool:
        architecture = str((loaded.model.config.architectures or [""])[0])
        return SavedMultipleChoice.is_in(loaded) or architecture.endswith("ForMultipleChoice")

    @classmethod
    def keys_of_model(cls, loaded: LoadedModel) -> dict[str, Any]:
        saved = SavedMultipleChoice.load(loaded)
        keys = {"overflow": saved.overflow, "calibrate": None if saved.temperature is None else "temperature"}
        return {key: value for key, value in keys.items() if value is not None}

"""The recipe of a classifier: one label of many, many labels or a number for a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import assert_never

from llmkit.data.label_sets import names_of_columns
from llmkit.data.labels import LabelCount, alike, in_order
from llmkit.errors import DataError
from llmkit.models.families import Head, families_with
from llmkit.recipe.blocks import Block, ColumnType, DistinctNames
from llmkit.recipe.recipe import LabelSets
from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.class_weights import ClassWeights
from llmkit.tasks.classification.draft import ClassificationDraft
from llmkit.tasks.classification.problem_types import NUMBER_LABELS, ProblemType, problem_type_of
from llmkit.tasks.classification.saved import SavedClassification
from llmkit.tasks.draft import TaskDraft
from llmkit.tasks.unknown_labels import unknown_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmkit.data.rows import Row
    from llmkit.models.loaded import LoadedModel

_FITTING: Mapping[ProblemType, tuple[str, ...]] = {
    "single_label_classification": (
        *("accuracy", "precision", "recall", "f1", "mcc", "confusion"),
        *("ece", "brier", "nll", "selective"),
    ),
    "multi_label_classification": ("accuracy", "precision", "recall", "f1", "map", "ece", "brier", "nll"),
    "regression": ("mse", "pearson", "spearman"),
}
_DEFAULTS: Mapping[ProblemType, tuple[tuple[str, ...], str]] = {
    "single_label_classification": (("accuracy", "f1", "ece"), "accuracy"),
    "multi_label_classification": (("precision", "recall", "f1", "map", "ece"), "f1_micro"),
    "regression": (("mse", "pearson", "spearman"), "mse"),
}
"""Metrics, and the score that picks the best checkpoint."""
_PURPOSES: Mapping[ProblemType, str] = {
    "single_label_classification": "gives a text one of its labels",
    "multi_label_classification": "gives a text any number of its labels, each with a probability of its own",
    "regression": "gives a text a number",
}
_BASELINES: Mapping[ProblemType, tuple[str, ...]] = {
    "single_label_classification": ("majority", "tfidf-logistic"),
    "multi_label_classification": ("majority-set", "tfidf-logistic-sets"),
    "regression": ("mean", "tfidf-ridge"),
}


class AbstainBlock(Block):
    """When a classifier gives no label: where its most probable one is not certain enough."""

    accuracy: Annotated[float, Field(gt=0, lt=1, examples=[0.95])]
    """Accuracy that the labels it gives have at least, with 95 % confidence by the validation rows."""


class ClassificationRecipe(TaskRecipe):
    HEAD: ClassVar[Head] = "classification"
    VERB: ClassVar[str] = "classify"
    USE: ClassVar[str] = 'llmkit classify "a text" --model {model}'
    PURPOSE: ClassVar[str] = _PURPOSES["single_label_classification"]
    PIPELINE_TAG: ClassVar[str] = "text-classification"
    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]] = {"text": "text", "text_pair": "text", "label": "label"}
    OPTIONAL_FIELDS: ClassVar[Mapping[str, bool]] = {"text_pair": False}
    READ_FIELDS: ClassVar[tuple[str, ...]] = ("text", "text_pair")
    TARGET_FIELDS: ClassVar[tuple[str, ...]] = ("label", "labels")
    FAMILIES: ClassVar[tuple[str, ...]] = families_with("classification")
    METRICS: ClassVar[tuple[str, ...]] = _DEFAULTS["single_label_classification"][0]
    BEST: ClassVar[str] = _DEFAULTS["single_label_classification"][1]
    BASELINES: ClassVar[tuple[str, ...]] = _BASELINES["single_label_classification"]
    DRAFT: ClassVar[TaskDraft] = ClassificationDraft()

    task: Literal["classification"]
    multilabel: bool = False
    """Any number of labels a text, none included, in the field `labels`; each has a probability of its own."""
    regression: bool = False
    """A number in place of a label; false if the numbers are names of classes."""
    labels: Annotated[DistinctNames, Field(examples=[("negative", "positive")])] | None = None
    """Label names in the order of the model's outputs; without it, those of all rows of `data.train`, in alphabetical
    order, or in numeric order if all are numbers."""
    label_separator: Annotated[str, Field(min_length=1, examples=[";"])] | None = None
    """With `multilabel`, what separates the labels in a text, such as `;`."""
    class_weights: ClassWeights | None = None
    """Weight of a row in the loss, by its label: `auto` gives rare labels more, N / (C x count). With `multilabel`, the
    weight of the rows that have the label; `auto` is the rows without it over the rows with it."""
    threshold: Literal["shared", "per-label"] = "shared"
    """With `multilabel`, whether one threshold for all labels or one for each is tuned on the validation rows."""
    calibrate: Literal["temperature"] | None = None
    """`temperature` divides the logits by a number that is fitted on the validation rows (Guo et al. 2017), so that
    probabilities say how often a label is right."""
    abstain: AbstainBlock | None = None
    """Give no label where its probability is below a limit, which is chosen on the validation rows."""
    max_tokens: Annotated[int, Field(ge=4)] | None = None
    """The longest text or pair, special tokens included; without it, the model's window."""
    overflow: Literal["error", "truncate", "drop", "window"] = "truncate"
    """What happens to longer texts, always with counts."""
    window_overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that neighbouring windows share, under `overflow: window`; without it, a quarter of the window."""

    @property
    def _label_columns(self) -> tuple[str, ...]:
        """The columns of 0 and 1, if each label has one."""
        columns = self.data.columns.get("labels", ())
        return columns if isinstance(columns, tuple) else ()

    def label_sets(self, names: tuple[str, ...] = ()) -> LabelSets | None:
        return LabelSets(self.labels or names, self.label_separator) if self.multilabel else None

    @property
    def problem_type(self) -> ProblemType:
        if self.regression:
            return "regression"
        return "multi_label_classification" if self.multilabel else "single_label_classification"

    @property
    def column_types(self) -> Mapping[str, ColumnType]:
        match self.problem_type:
            case "single_label_classification":
                return self.COLUMN_TYPES
            case "multi_label_classification":
                return {"text": "text", "text_pair": "text", "labels": "labels"}
            case "regression":
                return {"text": "text", "text_pair": "text", "label": "number"}
            case other:
                assert_never(other)

    @property
    def default_metrics(self) -> tuple[str, ...]:
        return _DEFAULTS[self.problem_type][0]

    @property
    def metrics(self) -> tuple[str, ...]:
        needed = (*(("ece",) if self.calibrate else ()), *(("selective",) if self.abstain else ()))
        return tuple(dict.fromkeys((*super().metrics, *needed)))

    @property
    def default_best(self) -> str:
        return _DEFAULTS[self.problem_type][1]

    @property
    def purpose(self) -> str:
        return _PURPOSES[self.problem_type]

    @property
    def baselines(self) -> tuple[str, ...]:
        return _BASELINES[self.problem_type]

    @property
    def fitting_metrics(self) -> tuple[str, ...]:
        return _FITTING[self.problem_type]

    @property
    def window_tokens(self) -> int | None:
        return self.max_tokens

    @model_validator(mode="after")
    def _fits_together(self) -> ClassificationRecipe:
        if self.multilabel and self.regression:
            raise ValueError("multilabel and regression exclude each other")
        if self.regression and self.labels is not None:
            raise ValueError("labels: a number has none; remove it, or regression")
        if self.class_weights is not None and self.regression:
            raise ValueError("class_weights: a number has no label; remove them, or regression")
        if self.threshold != "shared" and not self.multilabel:
            raise ValueError("threshold: only where a text has many labels; add multilabel: true")
        if self.calibrate is not None and self.regression:
            raise ValueError("calibrate: a number has no probability; remove it, or regression")
        if self.abstain is not None and self.problem_type != "single_label_classification":
            raise ValueError("abstain: only where a text has one label; remove it, or multilabel or regression")
        self._check_label_columns()
        if self.window_overlap is not None and self.overflow != "window":
            raise ValueError("window_overlap: belongs to overflow: window")
        return self

    def _check_label_columns(self) -> None:
        if self.label_separator is not None and not self.multilabel:
            raise ValueError("label_separator: only where a text has many labels; add multilabel: true")
        if self.label_separator is not None and self._label_columns:
            raise ValueError("label_separator: data.columns gives each label a column; remove one of the two")
        if self._label_columns and names_of_columns(self._label_columns, self.labels or ()) is None:
            raise ValueError(
                f"labels: {', '.join(self.labels or ())} do not fit the columns {', '.join(self._label_columns)}; give "
                "one for each column in its order, or leave them out"
            )

    def class_names(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """The recipe's labels, or those of the rows, in order; for a regression, the name of its output.

        Raises:
            DataError: there are fewer than two, or none where a text may have many.
        """
        if self.problem_type == "regression":
            return NUMBER_LABELS
        names = self.labels or self._label_columns or None
        if names is None or alike(names):
            count = LabelCount()
            for row in rows:
                count.add(row.fields["labels"] if self.multilabel else [row.fields["label"]], place=row.place)
            count.warn_of_alike()
            names = names or tuple(in_order(count.counts))
        if len(names) < (1 if self.multilabel else 2):
            source = "the recipe names only" if self.labels else "the training rows have"
            needed = "a label" if self.multilabel else "two labels or more"
            raise DataError(f"classification needs {needed}; {source} {', '.join(names) or 'none'}.")
        return names

    def check_row(self, row: Row, labels: Sequence[str] | None) -> None:
        known = self.labels or labels
        if self.problem_type == "regression" or known is None:
            return
        names = row.fields["labels"] if self.multilabel else [row.fields["label"]]
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            raise unknown_label(row.place, "label", unknown, known=known)

    @classmethod
    def keys_of_model(cls, loaded: LoadedModel) -> dict[str, Any]:
        problem_type, saved = problem_type_of(loaded), SavedClassification.load(loaded)
        keys: dict[str, Any] = {
            "multilabel": problem_type == "multi_label_classification",
            "regression": problem_type == "regression",
            "class_weights": saved.class_weights,
            "calibrate": None if saved.temperature is None else "temperature",
            "abstain": None if saved.abstain_accuracy is None else {"accuracy": saved.abstain_accuracy},
            "overflow": saved.overflow,
            "window_overlap": saved.window_overlap if saved.overflow == "window" else None,
        }
        return {key: value for key, value in keys.items() if value is not None}

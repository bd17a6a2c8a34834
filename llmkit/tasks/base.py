"""What a task is: the interface between rows of text and the training loop, the engines and the metrics.

A task is a package with a recipe class (`TaskRecipe`) and a task class (`Task`); `tasks/__init__.py` lists the former,
`tasks/build.py` the latter.
Legend: B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import model_validator

from llmkit.models.families import FAMILIES, Head
from llmkit.recipe.blocks import ScratchModel
from llmkit.recipe.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from llmkit.data.examples import Examples
    from llmkit.data.order import Indices
    from llmkit.data.rows import Row
    from llmkit.models.loaded import LoadedModel
    from llmkit.models.scale import TargetScale
    from llmkit.tasks.draft import TaskDraft
    from llmkit.tasks.engine import Engine

Batch = Mapping[str, "Tensor"]
"""The model's keyword arguments, plus `labels`: the target of each output, -100 where it does not count in the loss."""

WRITING_HEADS: frozenset[Head] = frozenset({"causal-lm", "seq2seq-lm"})
"""Heads that generate text."""


@dataclass(frozen=True)
class RowStatistics:
    """What each row contributes to a metric's scores, so that the scores of any resample of rows are quick to compute."""

    rows: int
    resampled: Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]
    """(resamples, rows) how often each row counts -> score name -> (resamples,) values, NaN where a score is undefined.
    All ones give the metric's own values."""
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The least and the greatest value of scores, which may be infinite."""
    influences: Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]] | None = None
    """(resamples, rows) how often each row counts -> score name -> (resamples, rows) the derivative of the score by the
    weight of each row; of those scores that have one. None if no score has."""


@dataclass(frozen=True)
class Scores:
    """Scores of one evaluation: numbers by name, with their details (tables, options used)."""

    values: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)
    statistics: RowStatistics | None = field(default=None, compare=False, repr=False)
    """Of those of the scores that have an interval."""


Rows = Sequence["Row"]


@dataclass(frozen=True)
class Baseline:
    """A way to get predictions without the model."""

    name: str
    """Its key in JSON."""
    title: str
    """What people call it."""
    predict: Callable[[Recipe, Rows, Rows], list[Any]]
    """(recipe, training rows, test rows) -> a prediction for each test row."""
    learns: bool = True
    """Whether it uses the training rows."""
    needs: tuple[str, ...] = ()
    """Fields that every row must have, where a task has rows of several forms."""

    def fits(self, rows: Rows) -> bool:
        return all(field in row.fields for row in rows for field in self.needs)


class TaskRecipe(Recipe):
    """A task's recipe class: its keys, and all that is known about the task before there is a model."""

    HEAD: ClassVar[Head]
    VERB: ClassVar[str | None] = None
    """The command that uses a trained model, one of `Verb`; None for a model that is only trained further."""
    USE: ClassVar[str]
    """What to do with a trained model: a command with `{model}` in it."""
    PURPOSE: ClassVar[str]
    """What a trained model does, as the rest of a sentence for its card; see `purpose`."""
    PIPELINE_TAG: ClassVar[str | None] = None
    """The hub's name of the task; None where it has none."""
    HUB_DEFAULT: ClassVar[str | None] = None
    """The hub model that `VERB` takes where there is no finished run of the task."""
    DRAFT: ClassVar[TaskDraft]
    """What `llmkit init` knows of the task."""
    PRETRAINS: ClassVar[bool] = False
    """Whether the task needs only text."""
    BASELINES: ClassVar[tuple[str, ...]] = ()
    """Names of the baselines in `evaluation/baselines/`; see `baselines`."""

    @model_validator(mode="before")
    @classmethod
    def _set_dropout(cls, content: Any) -> Any:
        """No dropout by default in a family that has none."""
        model = content.get("model") if isinstance(content, dict) else None
        if not isinstance(model, dict) or not isinstance(model.get("architecture"), str):
            return content
        family = FAMILIES.get(model["architecture"])
        return {**content, "model": {"dropout": 0.0, **model}} if family is not None and family.no_dropout else content

    @model_validator(mode="after")
    def _check_dropout(self) -> TaskRecipe:
        if isinstance(self.model, ScratchModel):
            FAMILIES[self.model.architecture].check_dropout(self.model)
        return self

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the baselines of this recipe, which may depend on its keys."""
        return self.BASELINES

    @property
    def purpose(self) -> str:
        """What a trained model of this recipe does, which may depend on its keys."""
        return self.PURPOSE

    @property
    def overflow_in_use(self) -> str | None:
        """What `VERB` does with rows that are too long, where that is not what the recipe's `overflow` says: in use, no
        row can be left out. Evaluation does the same. None where the recipe's key applies."""
        return "truncate" if getattr(self, "overflow", None) == "drop" else None

    def class_names(self, rows: Iterable[Row]) -> tuple[str, ...] | None:
        """Names of the model's classes, from the recipe or the rows; None for a head without classes.

        Args:
            rows: all rows of `data.train`, those of a validation or test share included.

        Raises:
            DataError: the rows have too few, or do not fit the recipe.
        """
        return None

    def check_row(self, row: Row, labels: Sequence[str] | None) -> None:
        """Check what the task expects of a row, besides the types of its values.

        Args:
            labels: names of the model's classes; None if they are not known yet.
        Raises:
            RowError: the task cannot use it.
        """
        return None

    def task_baselines(self) -> tuple[Baseline, ...]:
        """Baselines of this task alone, besides those in `BASELINES`."""
        return ()

    @classmethod
    def has_trained(cls, loaded: LoadedModel) -> bool:
        """Whether a model's config says that it was trained on this task, not on the usual task of its head."""
        return False

    @classmethod
    def keys_of_model(cls, loaded: LoadedModel) -> dict[str, Any]:
        """The keys of such a recipe that a trained model's configs give.

        Raises:
            ModelError: a damaged entry.
        """
        return {}


class Task(Protocol):
    """One kind of training. Built from its recipe and a loaded model; has no rows and no state of training."""

    loaded: LoadedModel

    @property
    def recipe(self) -> TaskRecipe: ...

    @property
    def tuned(self) -> Mapping[str, Any]:
        """What was chosen on validation rows, such as a decision threshold, by name; for reports."""
        ...

    def encode(self, rows: Iterable[Row]) -> Examples:
        """Rows to token ids under the recipe's over-length policy, whose counts are logged.

        Raises:
            DataError: a row that the task cannot use, with its place.
        """
        ...

    def encode_every(self, rows: Iterable[Row]) -> Examples:
        """As `encode`, to evaluate: with every row that the task's command gives a result for, though it may have no
        example to learn from.

        Raises:
            DataError: as `encode`.
        """
        ...

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        """Padded tensors of these examples, on the CPU.

        Args:
            epoch: for what is drawn again in each epoch, from 0; None draws the same each time.
        """
        ...

    def loss_sum(self, batch: Batch) -> Tensor:
        """Scalar: nats summed over the batch's targets, never averaged; an example does not depend on the others."""
        ...

    def row_losses(self, batch: Batch) -> Tensor:
        """(B,) the nats of each example: what `loss_sum` adds up, without label smoothing. To evaluate, without
        gradients."""
        ...

    def means(self, batch: Batch) -> Mapping[str, tuple[float, int]]:
        """Scores of a batch besides its loss that need no predictions: name -> (sum, number of values)."""
        ...

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        """One value a row, to be compared with its reference: a label, a generated text, the tags of its words.

        Plain JSON values. Empty where the recipe has no metrics.
        """
        ...

    def prepare_training(self, train: Examples) -> Examples:
        """Decide what depends on the training rows, such as length limits, save it with the model, and return
        the examples to train on. Called once, before any validation row is read."""
        ...

    def check_labels(self, train: Examples, validation: Examples) -> None:
        """Log statistics of the labels, and decide what depends on them. Called once, before the first step.

        Raises:
            DataError: there is nothing to learn.
        """
        ...

    def target_scale(self, train: Examples) -> TargetScale | None:
        """Mean and standard deviation of the training rows' numbers, to standardise them; None where the targets
        are not numbers.

        Raises:
            DataError: they cannot be standardised.
        """
        ...

    def standardise(self, scale: TargetScale) -> None:
        """Train on standardised numbers from now on. Losses are those of standardised numbers then, to be multiplied
        by `loaded.loss_unit` for reports; predictions stay in the unit of the rows. Called once, before training."""
        ...

    def reset_tuning(self) -> None:
        """Predict without what an earlier `tune_threshold` chose, so that it can choose again."""
        ...

    def tune_threshold(self, predictions: list[Any], references: Sequence[Any]) -> list[Any]:
        """Choose the decision threshold on all validation rows, save it with the model, and return the predictions
        that it gives. The given ones are those after `reset_tuning`."""
        ...

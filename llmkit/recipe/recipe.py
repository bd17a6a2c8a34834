"""The keys of every task's recipe. A task adds its own in a subclass of `Recipe` beside its task class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import model_validator

from llmkit.recipe.blocks import (
    Block,
    ColumnType,
    DataBlock,
    EvaluationBlock,
    ScratchModel,
    Trackers,
    TrainBlock,
)
from llmkit.recipe.card import CardBlock


@dataclass(frozen=True)
class LabelSets:
    """How rows with any number of labels are written, besides lists of names."""

    names: tuple[str, ...] = ()
    """The labels in the order of lists of 0 and 1; empty if that order is unknown."""
    separator: str | None = None
    """What separates the labels in a text."""


class Recipe(Block):
    """The keys of every task's recipe. Subclasses fix `task` and add keys."""

    COLUMN_TYPES: ClassVar[Mapping[str, ColumnType]]
    """Name of a column of the task -> its type; see `column_types`."""
    OPTIONAL_FIELDS: ClassVar[Mapping[str, bool]] = {}
    """Optional columns: used if a row has the column, or `data.columns` names it. True if a blank text is ignored;
    otherwise a row with a blank text is skipped."""
    COLUMN_ALIASES: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Other usual names of a column, used if no column has its own name."""
    FIELD_GROUPS: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Alternative groups of columns: a table has exactly one group, or `data.columns` names one; empty for none."""
    READ_FIELDS: ClassVar[tuple[str, ...]] = ("text",)
    """Columns of the model's input. The first that a row has decides its split: equal values stay together."""
    CLUSTER_FIELD: ClassVar[str | None] = None
    """The field that is equal in rows that are not independent, where `data.cluster` does not say: a passage. It is
    the first of `READ_FIELDS`, so shares keep such rows together anyway."""
    TARGET_FIELDS: ClassVar[tuple[str, ...]] = ()
    """Columns with what the model learns to predict or write; empty for a task that needs only text, and the answers of
    a conversation are in its messages."""
    FAMILIES: ClassVar[tuple[str, ...]]
    """The model families that support the task."""
    METRICS: ClassVar[tuple[str, ...]] = ()
    """Metrics of the task's predictions; empty for a task that is measured by its loss."""
    BEST: ClassVar[str] = "loss"
    """The score that selects the best checkpoint."""

    recipe: Literal[1]
    """Version of the recipe language."""
    task: str
    """What the model learns."""
    model: str | ScratchModel
    """A hub id, a folder or a run; or a block for random weights."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    data: DataBlock
    train: TrainBlock = TrainBlock()
    evaluation: EvaluationBlock = EvaluationBlock()
    card: CardBlock = CardBlock()
    tracking: Trackers | None = None
    """Tools that show the training while it runs, each an extra package; without it, only the run's own files."""

    @property
    def column_types(self) -> Mapping[str, ColumnType]:
        """The columns of this recipe's rows, which may depend on its keys."""
        return self.COLUMN_TYPES

    @property
    def default_metrics(self) -> tuple[str, ...]:
        """The default metrics of its predictions, which may depend on the recipe's keys."""
        return self.METRICS

    @property
    def default_best(self) -> str:
        """The default score that selects the best checkpoint."""
        return self.BEST

    @property
    def loss_scores(self) -> tuple[str, ...]:
        """The scores that are computed from the loss alone."""
        return ("loss",) if self.default_metrics else ("loss", "perplexity", "bits_per_byte")

    @property
    def fitting_metrics(self) -> tuple[str, ...] | None:
        """The metrics that apply to its predictions, besides `evaluate:` modules; None for any."""
        return None

    @property
    def written_language(self) -> str | None:
        """The code of the target language, if the recipe sets one; metrics choose a tokenizer by it."""
        return None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of its predictions: the recipe's choice, else the task's default; empty if there are none."""
        return (self.evaluation.metrics or self.default_metrics) if self.default_metrics else ()

    def label_sets(self, names: tuple[str, ...] = ()) -> LabelSets | None:
        """How its rows write any number of labels; None if no row has several.

        Args:
            names: the labels of a trained model.
        """
        return None

    @property
    def best(self) -> str:
        return self.evaluation.best or self.default_best

    @property
    def window_tokens(self) -> int | None:
        """The maximum sequence length of the model, if the recipe limits it."""
        return None

    @model_validator(mode="after")
    def _check_model_and_columns(self) -> Recipe:
        unknown = set(self.data.columns) - set(self.column_types)
        if unknown:
            raise ValueError(
                f"data.columns: {sorted(unknown)[0]!r} is not a column of {self.task}; use {', '.join(self.column_types)}"
            )
        several = next((field for field, column in self.data.columns.items() if isinstance(column, tuple)), None)
        if several is not None and (self.label_sets() is None or self.column_types[several] != "labels"):
            raise ValueError(f"data.columns: {several!r} is one column; only the labels of multilabel can be several")
        if isinstance(self.model, ScratchModel):
            if self.model.architecture not in self.FAMILIES:
                raise ValueError(
                    f"model.architecture: {self.task} works with {', '.join(self.FAMILIES)}, not {self.model.architecture}"
                )
            if self.revision is not None:
                raise ValueError("revision: applies only to a hub model; these weights are random")
            for key in ("lora", "freeze", "layer_decay"):
                if getattr(self.train, key) is not None:
                    raise ValueError(f"train.{key}: needs a pretrained model; these weights are random")
        return self

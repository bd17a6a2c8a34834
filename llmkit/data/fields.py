"""The fields of a task's rows, as recipes and commands ask for them. Knows no tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmkit.data.clusters import CLUSTER, Clusters
from llmkit.recipe.blocks import ColumnType
from llmkit.recipe.recipe import LabelSets

MAPPED_IN_RECIPE = "Map it in the recipe: data.columns: {{{field}: {column}}}"
"""How a user maps a column to another name; a template."""


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The fields of a task's rows, and how tables name them."""

    column_types: Mapping[str, ColumnType]
    """Field of the task -> type of its values; see column_types.py."""
    columns: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Field -> name of its column, if they differ; for labels, also a column of 0 and 1 for each. A name may be a key
    inside another column: `translation.en`."""
    optional: Mapping[str, bool] = field(default_factory=dict)
    """Fields that are used if `columns` names their column or a record has it, and else absent from rows; True if a
    blank text counts as absent, and its row is not skipped."""
    groups: Sequence[Sequence[str]] = ()
    """Groups of fields, of which each table has exactly one complete group; if `columns` names fields of one of them,
    that group is used."""
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Field -> other usual names of its column, for tables that lack the field's own name."""
    label_sets: LabelSets | None = None
    """How columns of any number of labels are written; without it, as lists of names."""
    mapping: str = MAPPED_IN_RECIPE
    """The advice for a missing column, a template of `{field}` and `{column}`."""
    clusters: Clusters | None = None
    """Which rows are not independent; None if nothing depends on it."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Field -> a sentence that says where its column was set, for the message about a missing column."""

    def with_cluster(self, column: str, *, is_required: bool) -> Fields:
        """These fields, and the column that names the cluster of a row."""
        return replace(
            self,
            column_types={**self.column_types, CLUSTER: "any"},
            columns={**self.columns, CLUSTER: column},
            optional=self.optional if is_required else {**self.optional, CLUSTER: True},
        )

    def without(self, name: str) -> Fields:
        """All fields but this one."""
        return replace(
            self,
            column_types={key: kind for key, kind in self.column_types.items() if key != name},
            columns={key: column for key, column in self.columns.items() if key != name},
            optional={key: blank for key, blank in self.optional.items() if key != name},
        )

"""The decisions about a new recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmkit.api.drafts.models import ChosenModel
from llmkit.data.profiles import Column, TableProfile
from llmkit.tasks import RECIPES
from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.columns import Match

PLACEHOLDER = "YOUR_FILE.csv"
"""The source of a recipe without data, where there is no built-in set."""
_FEW_DOCUMENTS = 20


@dataclass(frozen=True)
class Plan:
    """All decisions about a new recipe."""

    task: str
    reason: str
    source: str
    match: Match
    table: TableProfile | None = None
    model: ChosenModel | None = None
    model_given: str | None = None
    languages: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    """`validation` and `test` -> a share or a file."""

    @property
    def recipe_class(self) -> type[TaskRecipe]:
        return RECIPES[self.task]

    @property
    def has_languages(self) -> bool:
        """Whether its recipe names the languages of the texts."""
        return "source_language" in self.recipe_class.model_fields

    @property
    def is_readable(self) -> bool:
        """Whether the rows can be read at once to try the recipe."""
        return self.table is not None and not self.source.startswith("hub:")

    @property
    def is_placeholder(self) -> bool:
        return self.source == PLACEHOLDER

    @property
    def is_builtin(self) -> bool:
        return self.source.startswith("builtin:")

    @property
    def is_lines(self) -> bool:
        """Whether each line of plain text is a row, since it has hardly any blank lines."""
        table = self.table
        return table is not None and table.format == "text" and table.rows < _FEW_DOCUMENTS

    def column(self, name: str) -> Column | None:
        """The column of a field, if the table has it."""
        named = self.match.columns.get(name, name)
        return None if self.table is None or not isinstance(named, str) else self.table.column(named)

    def read_columns(self) -> list[Column]:
        """The columns with texts."""
        names = [*self.recipe_class.COLUMN_TYPES] if self.table is not None else []
        return [column for name in names if (column := self.column(name)) is not None]

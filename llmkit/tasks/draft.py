"""What `llmkit init` knows of a task: how its rows are written, which tables are for it, and what a recipe starts with.

Each task has a `draft.py` with a subclass of `TaskDraft`. Imports no model library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from llmkit.models.published import Published
from llmkit.tasks.columns import Columns, Form, Match

if TYPE_CHECKING:
    from llmkit.data.profiles import TableProfile


@dataclass(frozen=True)
class Example:
    """A built-in data set that a recipe without data has."""

    source: str
    match: Match


@dataclass(frozen=True)
class Recognised:
    """The columns of a table that is for a task."""

    reason: str
    """Why, for people."""
    match: Match


class TaskDraft:
    """Nothing is recognised unless a subclass does."""

    FORMS: ClassVar[tuple[Form, ...]]
    """The ways in which rows of the task are written, in the order in which they are tried."""
    EXAMPLE: ClassVar[Example | None] = None
    MODELS: ClassVar[tuple[Published, ...]] = ()
    """Models to start from, of which the first that reads the texts is taken; empty for a task that makes a new one."""

    def by_layout(self, table: TableProfile) -> Recognised | None:
        """The columns of a table whose rows have a form that only this task has."""
        return None

    def by_names(self, table: TableProfile) -> Recognised | None:
        """The columns of a table where all have usual names."""
        return None

    def by_values(self, table: TableProfile) -> Recognised | None:
        """The columns of a table that nothing else tells a task of."""
        return None

    def match(self, table: TableProfile, given: Columns) -> Match | None:
        """The columns where the task is known, in a layout that no form describes.

        Args:
            given: columns that the user has named.
        """
        return None

"""New recipes, proposed from a task or from a file of rows: `llmkit init`. Imports no model library."""

from __future__ import annotations

from llmkit.api.drafts.drafting import Draft, draft_recipe
from llmkit.tasks.columns import Ask

__all__ = ["Ask", "Draft", "draft_recipe"]

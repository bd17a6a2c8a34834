"""A run folder before its training has written anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llmkit.runs.creation import new_run
from llmkit.runs.folder import Run


def create_run(
    name: Path | None,
    *,
    recipe_name: str = "news",
    root: Path = Path("runs"),
    describe: Callable[[Run], None] = lambda run: None,
) -> Run:
    with new_run(name, recipe_name=recipe_name, describe=describe, root=root) as run:
        return run

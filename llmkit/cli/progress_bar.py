"""A bar on standard error while something long is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_SECONDS_BETWEEN_UPDATES = 0.1


@contextmanager
def progress_bar(*, shown: bool = True) -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a function that is called with a stage of the work, how much of it is done, and of how much, if that is known.

    Nothing is left of the bar, and there is none if standard error is not a terminal.
    """
    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield lambda stage, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[count]}"))
    with Progress(*columns, console=console, transient=True, expand=True, redirect_stdout=False) as bar:
        task, shown_stage, updated = bar.add_task("reading", total=None, count=""), "reading", 0.0

        def report(stage: str, done: int, total: int | None) -> None:
            nonlocal shown_stage, updated
            is_new = stage != shown_stage
            if not is_new and done != total and time.monotonic() - updated < _SECONDS_BETWEEN_UPDATES:
                return
            shown_stage, updated = stage, time.monotonic()
            count = f"{done:,}" if total is None else f"{done:,} of {total:,}"
            bar.update(task, description=stage, completed=done, total=total, count=count, refresh=is_new)

        yield report

"""Tables on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

_COLUMNS = 80
"""Width in a file or a pipe."""


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Cells are wrapped to the width of the terminal, in a file or a pipe to 80 columns."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(name, overflow="fold")  # a cell is never shortened
    for row in rows:
        table.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=_COLUMNS)
    with console.capture() as capture:
        console.print(table, markup=False, highlight=False)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def print_markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table in Markdown. Cells are not wrapped."""
    lines = [header, ["---"] * len(header), *rows]
    print("\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines))

"""`llmkit plot`."""

from __future__ import annotations

import shutil
import sys
from typing import Annotated

import typer

from llmkit.cli.messages import print_note
from llmkit.cli.output import shown

_COLUMNS = 80
"""Width of the chart in a file or a pipe."""


def plot(run: Annotated[str, typer.Argument(help="Folder of the run, such as runs/news-001.")]) -> None:
    """Plot the losses of a run in the terminal and save the plot as an image in its folder."""
    from llmkit.api import plot as draw

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _COLUMNS
    drawn = draw(run, columns=columns)
    print(shown(drawn.text))
    print_note(f"wrote {drawn.path}")


COMMANDS = (plot,)

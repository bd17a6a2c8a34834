"""`llmkit report`."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli.output import one_line


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folder of a run, or several to compare.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The HTML file. Default: report.html in the run's folder; for several runs comparison.html here.",
        ),
    ] = None,
) -> None:
    """Write a run as one HTML page that opens offline: scores, mistakes, curves, data, recipe; or several side by side.

    Training and evaluation write the page of their run by themselves.
    """
    from llmkit.api import write_report

    print(one_line(str(write_report(runs, output=output))))


COMMANDS = (report,)

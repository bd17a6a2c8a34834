"""`plot`: the losses of a run as an image."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from llmkit.runs.folder import Run, open_run
from llmkit.runs.plot import draw_text, read_losses, write_png

logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class Plotted:
    """The losses of a run, as an image and as text."""

    path: Path
    """loss.png in the run's folder."""
    text: str
    """Lines of characters, for a terminal."""


def plot(run: str | Path, *, columns: int = 80) -> Plotted:
    """Draw the training and the validation loss of a run; it may still be training.

    Args:
        run: its folder.
        columns: of the terminal that the text is for; fewer than 60 count as 60.
    Raises:
        RunError: no run, a damaged one, or one without a finite loss.
        MachineError: loss.png cannot be written.
    """
    folder = open_run(run)
    losses = read_losses(folder)
    return Plotted(write_png(folder, losses), draw_text(losses, columns=columns))


def draw_finished(run: Run) -> None:
    """Write loss.png of a training that has its model. A failure is only logged, since the plot can be drawn later."""
    try:
        write_png(run, read_losses(run))
    except Exception as error:  # an error in drawing must not fail the training
        logger.warning("loss.png could not be drawn (%s). Try: llmkit plot %s", error, run.folder)

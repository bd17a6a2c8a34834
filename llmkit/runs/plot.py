"""Plots of a run's losses: loss.png in its folder, and characters for a terminal. Does not import torch.

Both libraries are imported where they are used. matplotlib is used without pyplot: no global state is changed, and no
window is opened.
"""

from __future__ import annotations

import logging
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.atomic import replace_file
from llmkit.errors import RunError
from llmkit.runs.folder import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = list[tuple[int, float]]
"""(step, nats per target) in the order of the steps."""

TRAIN_COLOUR, SMOOTHED_COLOUR, VALIDATION_COLOUR = "#a6cee3", "#08519c", "#d95f02"
_MOST_POINTS = 2_000
_SMOOTHED_FROM = 200
"""Curves with at least this many points are also shown smoothed."""
_SMOOTHED_POINTS = 100
_NARROWEST, _ROWS = 60, 17
"""Columns of a terminal, rows of the curves."""
_LABEL = 9
"""Columns of the axis labels."""
logger = logging.getLogger("llmkit")


@dataclass(frozen=True)
class Losses:
    train: Curve
    validation: Curve
    omitted: int
    """Number of values that are not finite."""

    @property
    def summary(self) -> tuple[str, ...]:
        """A summary of the plot in numbers."""
        parts = []
        if self.validation:
            step, loss = min(self.validation, key=lambda point: point[1])
            parts.append(f"lowest validation loss {loss:.4g} at step {step:,}")
        if self.train:
            parts.append(f"last training loss {self.train[-1][1]:.4g}")
        if self.omitted:
            parts.append(f"{self.omitted:,} omitted (not finite)")
        return tuple(parts)


def read_losses(run: Run) -> Losses:
    """`train/loss` and `evaluation/loss` of metrics.jsonl. An incomplete last line is ignored, with a warning.

    Raises:
        RunError: there is no finite loss.
    """
    path = run.folder / "metrics.jsonl"
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        logger.warning("%s: its last line is incomplete and ignored.", path)
    lines = run.metrics()
    train, train_omitted = _curve(lines, "train/loss")
    validation, validation_omitted = _curve(lines, "evaluation/loss")
    omitted = train_omitted + validation_omitted
    if not train and not validation:
        raise RunError(_nothing_to_plot(run, omitted=omitted))
    return Losses(train, validation, omitted)


def draw_png(losses: Losses) -> bytes:
    """The plot as PNG, 1,200 x 675 pixels; the same losses give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), dpi=150)
    FigureCanvasAgg(figure)  # becomes the figure's canvas
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.11, top=0.93)  # a computed layout draws all of it twice
    axes = figure.add_subplot()
    _draw_curves(axes, losses)
    axes.set_title("; ".join(losses.summary), fontsize=10, parse_math=False)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss (nats per target)")
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    content = BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def write_png(run: Run, losses: Losses) -> Path:
    """Write loss.png to the run's folder atomically, and return its path.

    Raises:
        MachineError: the file cannot be written.
    """
    path = run.folder / "loss.png"
    replace_file(path, draw_png(losses))
    return path


def draw_text(losses: Losses, *, columns: int) -> str:
    """The plot as text: Braille dots for training, `o` for validation. No control codes.

    Args:
        columns: width of the terminal; at least 60 are used.
    """
    from plotille import Canvas

    columns = max(columns, _NARROWEST)
    width = columns - _LABEL - 2
    low, high = _range([loss for _, loss in losses.train + losses.validation])
    steps = [step for step, _ in losses.train + losses.validation]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    # A canvas excludes its upper limits: move them by a fraction of a character to include the last point.
    right, top = first + (last - first) * 2 * width / (2 * width - 1), low + (high - low) * 4 * _ROWS / (4 * _ROWS - 1)
    canvas = Canvas(width, _ROWS, first, low, right, top)
    train = downsampled(losses.train, most=_MOST_POINTS)
    for start, end in pairwise([*train[:1], *train]):  # a single point is a line to itself
        canvas.line(*start, *end)
    for step, loss in losses.validation:
        canvas.point(step, loss, marker="o")
    rows = canvas.plot("\n").replace("\N{BRAILLE PATTERN BLANK}", " ").split("\n")
    labels = [_row_label(row, low=low, high=high) for row in range(_ROWS)]
    steps_line = f"{first:,}{'step':^{width - len(f'{first:,}{last:,}')}}{last:,}"
    curves = [("⠤⠤ training", losses.train), ("o validation", losses.validation)]
    legend = ", ".join(name for name, curve in curves if curve)
    return "\n".join(
        [
            f"loss in nats per target: {legend}",
            *(f"{label} │{row}".rstrip() for label, row in zip(labels, rows, strict=True)),
            f"{'':{_LABEL}} └{'─' * width}",
            f"{'':{_LABEL}}  {steps_line}",
            *textwrap.wrap("; ".join(losses.summary), width=columns),
        ]
    )


def downsampled(curve: Curve, *, most: int) -> Curve:
    """At most `most` points of a curve, with every visible peak and dip.

    Neighbouring points are grouped, and the lowest and the highest point of each group are kept; so are both ends.
    """
    if len(curve) <= most:
        return curve
    inner = curve[1:-1]
    points = [curve[0]]
    for group in _groups(inner, (most - 2) // 2):
        lowest, highest = min(group, key=lambda point: point[1]), max(group, key=lambda point: point[1])
        points += sorted({lowest, highest})
    return [*points, curve[-1]]


def smoothed(curve: Curve, *, points: int) -> list[tuple[float, float]]:
    """Mean step and mean loss of each of `points` groups of neighbours."""
    return [
        (sum(step for step, _ in group) / len(group), sum(loss for _, loss in group) / len(group))
        for group in _groups(curve, points)
    ]


def _groups(curve: Curve, count: int) -> list[Curve]:
    """Neighbouring points in `count` groups of nearly equal size."""
    edges = [len(curve) * number // count for number in range(count + 1)]
    return [curve[start:end] for start, end in pairwise(edges)]


def _nothing_to_plot(run: Run, *, omitted: int) -> str:
    if omitted:
        return f"{run.folder}: none of its {omitted:,} losses is a finite number. Try a lower train.learning_rate."
    return (
        f"{run.folder}: there are no losses to plot yet. Wait for its first step, or continue it with: "
        f"llmkit finetune --resume {run.folder}"
    )


def _curve(lines: Sequence[dict[str, Any]], key: str) -> tuple[Curve, int]:
    """The points of one metric, and the number of omitted values."""
    values = [(line["step"], line[key]) for line in lines if key in line]
    # Run.log writes null for values that are not finite.
    points = [(step, float(value)) for step, value in values if value is not None and math.isfinite(value)]
    return points, len(values) - len(points)


def _draw_curves(axes: Axes, losses: Losses) -> None:
    if len(losses.train) >= _SMOOTHED_FROM:
        _draw_line(axes, downsampled(losses.train, most=_MOST_POINTS), "training", TRAIN_COLOUR, 0.8)
        _draw_line(axes, smoothed(losses.train, points=_SMOOTHED_POINTS), "training, smoothed", SMOOTHED_COLOUR, 1.8)
    elif losses.train:
        _draw_line(axes, losses.train, "training", SMOOTHED_COLOUR, 1.2)
    if losses.validation:
        steps, values = zip(*downsampled(losses.validation, most=_MOST_POINTS), strict=True)
        style: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
        axes.plot(steps, values, "o", label="validation", color=VALIDATION_COLOUR, **style)


def _draw_line(axes: Axes, curve: Sequence[tuple[float, float]], label: str, colour: str, width: float) -> None:
    steps, values = zip(*curve, strict=True)
    marker = "." if len(curve) <= 30 else None  # a line of one point would be invisible
    axes.plot(steps, values, label=label, color=colour, linewidth=width, marker=marker)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value, with a margin if they are equal."""
    low, high = min(values), max(values)
    if low == high:
        margin = abs(low) / 10 or 1.0
        return low - margin, high + margin
    return low, high


def _row_label(row: int, *, low: float, high: float) -> str:
    """The loss of every fourth row of the plot in the terminal, counted from the top."""
    if row % 4:
        return " " * _LABEL
    return f"{high - (high - low) * row / (_ROWS - 1):#{_LABEL}.4g}"

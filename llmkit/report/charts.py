"""Curves as SVG paths, and the ticks of their axes. The box of a chart stretches with the page; its texts are HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.report.blocks import Chart, Range, Ranges, Series, Tick

WIDTH, HEIGHT = 2000, 1000
"""Of the box that paths are drawn in."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    low: float
    high: float

    def share(self, value: float) -> float:
        """Place of a value in 0..1 of the axis."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self, *, most: int, from_top: bool = False, whole: bool = False) -> list[Tick]:
        """Round numbers on the axis, about `most` of them at most."""
        step = _round_step((self.high - self.low) / most, whole=whole)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        ticks = []
        for number in range(first, last + 1):
            share = self.share(number * step)
            ticks.append(Tick(_tick_text(number * step, step), round(100 * (1 - share if from_top else share), 2)))
        return ticks


def axis_of(values: Sequence[float], *, margin: float = 0.04) -> Axis:
    """An axis with all of these values, and a margin on both sides."""
    low, high = min(values), max(values)
    room = (high - low) * margin or abs(low) * 0.1 or 1.0
    return Axis(low - room, high + room)


def line_chart(
    title: str,
    curves: Sequence[tuple[str, str, Sequence[Point], str]],
    *,
    summary: str,
    wide: bool = False,
    legend: bool = True,
) -> Chart:
    """A chart of curves, none of them empty.

    Args:
        curves: name, colour, points in the order of their steps, and `line`, `thin` or `dots`.
    """
    points = [point for _, _, curve, _ in curves for point in curve]
    steps = [step for step, _ in points]
    first, last = min(steps), max(steps)
    x_axis, y_axis = Axis(first, last if last > first else first + 1), axis_of([value for _, value in points])
    series = []
    for name, colour, curve, style in curves:
        dots = style == "dots" or len(curve) == 1
        series.append(Series(name, colour, path_of(curve, x_axis, y_axis, dots=dots), dots, style == "thin"))
    return Chart(
        title,
        summary,
        series,
        x_label="step",
        x_ticks=x_axis.ticks(most=6, whole=True),
        y_ticks=y_axis.ticks(most=5, from_top=True),
        wide=wide,
        legend=legend,
    )


def path_of(points: Sequence[Point], x_axis: Axis, y_axis: Axis, *, dots: bool) -> str:
    """A line through the points, or a dot at each: a line of no length with round ends."""
    places = [f"{round(WIDTH * x_axis.share(x))} {round(HEIGHT * (1 - y_axis.share(y)))}" for x, y in points]
    return "".join(f"M{place}h0" for place in places) if dots else "M" + "L".join(places)


def score_ranges(
    caption: str, scores: Sequence[tuple[str, float, tuple[float, float] | None, str]], *, strong: str
) -> Ranges:
    """Scores with their intervals on one axis.

    Args:
        scores: name, score, interval, and the text beside it.
        strong: the name that is drawn in the first colour.
    """
    axis = axis_of([value for _, score, interval, _ in scores for value in (score, *(interval or ()))], margin=0.06)
    ranges = []
    for name, score, interval, text in scores:
        low = width = None
        if interval is not None:
            low = round(100 * axis.share(interval[0]), 2)
            width = round(100 * (axis.share(interval[1]) - axis.share(interval[0])), 2)
        ranges.append(Range(name, text, round(100 * axis.share(score), 2), low, width, name == strong))
    return Ranges(caption, ranges, axis.ticks(most=5))


def _round_step(least: float, *, whole: bool) -> float:
    """The smallest step of 1, 2 or 5 times a power of ten that is at least this."""
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
    return max(1.0, step) if whole else step


def _tick_text(value: float, step: float) -> str:
    """The number with as many decimals as the step has."""
    if value == 0:
        return "0"
    if abs(value) < 1e-4 or abs(value) >= 1e7:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}"

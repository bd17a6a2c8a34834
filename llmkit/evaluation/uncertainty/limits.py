"""Where intervals and tests do not keep their 95 and 5 %, and what the output says about it.

The figures are those of `benchmarks/coverage.py`; docs/metrics.md has the whole table. Imports nothing that takes long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from llmkit.evaluation.metrics.external import EXTERNAL_PREFIX
from llmkit.evaluation.uncertainty.interval import Interval


class Limit(NamedTuple):
    """Scores whose intervals contain the true score too rarely."""

    scores: frozenset[str] | None
    """None for all."""
    fewer_than: int
    """Rows, or clusters if the rows have some."""
    text: str


LIMITS = (
    Limit(
        frozenset({"map"}),
        300,
        "map: its interval contains the true value in 93 % of samples of 200 rows, not in 95 %.",
    ),
    Limit(frozenset({"nll"}), 50, "nll: its interval contains the true value in 93 % of samples of 40 clusters."),
    Limit(
        frozenset({"ece"}),
        4000,
        "ece: its interval contains the true value in 84 % of samples of 200 rows, and in 88 % of 1,000: with few rows "
        "ece is too large.",
    ),
    Limit(
        None,
        20,
        "Intervals are a rough guide with fewer than 20 {units}: over 10 clusters, 81 to 98 % contain the true score, "
        "over 5 clusters 63 to 91 %.",
    ),
)
_FEWEST_OF_TEST = 5
_OVER_TOKENS = {"generator_loss", "detection_accuracy", "unreplaced_share"}


def interval_notes(intervals: Mapping[str, Interval | None], *, rows: int, clusters: int | None) -> list[str]:
    """What to know about the intervals of these scores: which are too short, and why some have none."""
    measured = [name for name, interval in intervals.items() if interval is not None]
    external = any(name.startswith(EXTERNAL_PREFIX) for name in intervals)
    notes = _limits(measured, rows=rows, clusters=clusters)
    if external:
        notes.append(f"{EXTERNAL_PREFIX}: no intervals, since such a module does not say what each row contributes.")
    if over_tokens := [name for name in intervals if name in _OVER_TOKENS and intervals[name] is None]:
        notes.append(f"{', '.join(over_tokens)}: no interval, since the sums of single blocks are not recorded.")
    return notes


def difference_notes(*, rows: int, clusters: int | None) -> list[str]:
    """What to know about tests of differences on so few rows or clusters."""
    units = rows if clusters is None else clusters
    if units < _FEWEST_OF_TEST:
        what = "rows" if clusters is None else "clusters"
        return [f"With {units} {what} no test finds a difference: its p-value is {0.5**units:.2g} or more."]
    return []


def _limits(scores: Iterable[str], *, rows: int, clusters: int | None) -> list[str]:
    found, units = set(scores), rows if clusters is None else clusters
    return [
        limit.text.format(units="rows" if clusters is None else "clusters")
        for limit in LIMITS
        if found and units < limit.fewer_than and (limit.scores is None or limit.scores & found)
    ]

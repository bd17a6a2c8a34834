"""The verdict on a model: whether it beats the best of its baselines. Imports no model library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from llmkit.evaluation.metrics import SCORES, is_better
from llmkit.evaluation.uncertainty.interval import Interval
from llmkit.tasks.base import RowStatistics


@dataclass(frozen=True)
class BaselineScores:
    """A baseline's scores."""

    name: str
    title: str
    scores: dict[str, float]
    statistics: RowStatistics | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Comparison:
    """The comparison of a model with its baselines."""

    baselines: tuple[BaselineScores, ...]
    metric: str
    """The score that the verdict compares."""
    better: bool
    """Whether the model beats the best of the baselines in it: if the difference has an interval, it does not include 0."""
    difference: float
    """The model's score minus that of the best baseline."""
    interval: Interval | None
    """Of the difference on the same rows; None where the rows say nothing about it."""
    verdict: str
    train_rows: int
    """Number of rows that the baselines were trained on; 0 if none of them learns."""


def compared_metric(scores: Mapping[str, float], *, best: str) -> str | None:
    """The score to compare: the one that selected the checkpoint, else the first one of predictions with a direction."""
    if best in scores and best != "loss":
        return best
    fits = (name for name in scores if name in SCORES and name not in ("loss", "majority_share"))
    return next(fits, None)


def judge(
    scores: Mapping[str, float],
    baselines: Sequence[BaselineScores],
    *,
    metric: str,
    train_rows: int,
    interval_of: Callable[[BaselineScores], Interval | None] = lambda baseline: None,
) -> Comparison:
    """Compare the model with the best of the baselines.

    Args:
        interval_of: the interval of the model's score minus the baseline's.
    """
    best = baselines[0]
    for baseline in baselines[1:]:
        if is_better(metric, baseline.scores[metric], best.scores[metric]):
            best = baseline
    score, baseline_score = scores[metric], best.scores[metric]
    difference, interval = score - baseline_score, interval_of(best)
    better = is_better(metric, score, baseline_score) and not (
        interval is not None and interval.low <= 0 <= interval.high
    )
    verdict = _verdict(best.title, metric, score=score, baseline_score=baseline_score, interval=interval)
    return Comparison(tuple(baselines), metric, better, difference, interval, verdict, train_rows)


def _verdict(title: str, metric: str, *, score: float, baseline_score: float, interval: Interval | None) -> str:
    shown, baseline_shown = _distinct(score, baseline_score)
    if score == baseline_score:
        return f"The model is no better than {title} in {metric}, {shown} each: it is not worth its cost yet."
    numbers = f"{metric}, {shown} to {baseline_shown}"
    if interval is not None:
        low, high = f"{interval.low:+.4f}", f"{interval.high:+.4f}"
        numbers += f" (difference {score - baseline_score:+.4f}, 95 % interval {low} to {high})"
        if interval.low <= 0 <= interval.high:
            return (
                f"No evidence of a difference between the model and {title} in {numbers}: it is not worth its cost yet."
            )
    if is_better(metric, score, baseline_score):
        return f"The model beats {title} in {numbers}."
    return f"The model loses to {title} in {numbers}: it is not worth its cost yet."


def _distinct(first: float, second: float) -> tuple[str, str]:
    """Both values with as few decimals as distinguish them, from 2 to 6."""
    for decimals in range(2, 7):
        shown = f"{first:.{decimals}f}", f"{second:.{decimals}f}"
        if shown[0] != shown[1]:
            break
    return (f"{first:.4f}", f"{second:.4f}") if first == second else shown

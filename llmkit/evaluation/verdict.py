"""The verdict on a model: whether it beats the best of its baselines. Imports no model library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmkit.evaluation.metrics import SCORES, is_better


@dataclass(frozen=True)
class BaselineScores:
    """A baseline's scores."""

    name: str
    title: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """The comparison of a model with its baselines."""

    baselines: tuple[BaselineScores, ...]
    metric: str
    """The score that the verdict compares."""
    better: bool
    """Whether the model beats the best of the baselines in it."""
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
    scores: Mapping[str, float], baselines: Sequence[BaselineScores], *, metric: str, train_rows: int
) -> Comparison:
    """Compare the model with the best of the baselines."""
    best = baselines[0]
    for baseline in baselines[1:]:
        if is_better(metric, baseline.scores[metric], best.scores[metric]):
            best = baseline
    score, baseline_score = scores[metric], best.scores[metric]
    better = is_better(metric, score, baseline_score)
    shown, baseline_shown = _distinct(score, baseline_score)
    if better:
        verdict = f"The model beats {best.title} in {metric}, {shown} to {baseline_shown}."
    elif score == baseline_score:
        verdict = f"The model is no better than {best.title} in {metric}, {shown} each: it is not worth its cost yet."
    else:
        verdict = (
            f"The model loses to {best.title} in {metric}, {shown} to {baseline_shown}: it is not worth its cost yet."
        )
    return Comparison(tuple(baselines), metric, better, verdict, train_rows)


def _distinct(first: float, second: float) -> tuple[str, str]:
    """Both values with as few decimals as distinguish them, from 2 to 6."""
    for decimals in range(2, 7):
        shown = f"{first:.{decimals}f}", f"{second:.{decimals}f}"
        if shown[0] != shown[1]:
            break
    return (f"{first:.4f}", f"{second:.4f}") if first == second else shown

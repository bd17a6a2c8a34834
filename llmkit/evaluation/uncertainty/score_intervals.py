"""The intervals of the scores of an evaluation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from llmkit.evaluation.uncertainty.interval import Interval
from llmkit.tasks.base import RowStatistics, Scores

if TYPE_CHECKING:
    from llmkit.evaluation.uncertainty.bootstrap import Clusters


def score_intervals(scores: Scores, *, clusters: Clusters | None = None) -> dict[str, Interval | None]:
    """The 95 % interval of each score, by the bootstrap over rows or clusters.

    None for a score without one: those of `evaluate:` modules, those that are undefined for these rows, and all scores of
    a single row or cluster.

    Args:
        clusters: (N,) the cluster of each row; None if the rows are independent.
    """
    from llmkit.evaluation.uncertainty.bootstrap import intervals

    known = {} if scores.statistics is None else intervals(scores.statistics, clusters=clusters)
    defined = {name: interval for name, interval in known.items() if not any(map(math.isnan, interval))}
    return {name: defined.get(name) for name in scores.values}


def difference_interval(
    first: RowStatistics | None,
    second: RowStatistics | None,
    name: str,
    *,
    clusters: Clusters | None = None,
) -> Interval | None:
    """The interval of the score `name` of `first` minus that of `second`, on the same rows; None without one."""
    from llmkit.evaluation.uncertainty.bootstrap import difference_intervals
    from llmkit.evaluation.uncertainty.statistics import difference

    if first is None or second is None:
        return None
    found = difference_intervals(difference(first, second, names=[name]), clusters=clusters)
    interval = found[name][0] if name in found else None
    return None if interval is None or any(map(math.isnan, interval)) else interval

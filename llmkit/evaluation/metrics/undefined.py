"""Scores that are undefined for these rows: 0, as for a ratio with a denominator of 0, with a warning."""

from __future__ import annotations

import logging

from llmkit.tasks.base import Scores

logger = logging.getLogger("llmkit")


def undefined(metric: str, reason: str) -> Scores:
    """The score as 0, never NaN, which JSON does not allow and which breaks comparisons; details `undefined` say why."""
    logger.warning("%s is undefined and reported as 0: %s", metric, reason)
    return Scores({metric: 0.0}, {"undefined": {metric: reason}})

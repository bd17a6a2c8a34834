"""Figures that have no value for these rows: 0 by the rule for a ratio with nothing below the line, and told."""

from __future__ import annotations

import logging

from llmkit.tasks.base import Scores

_log = logging.getLogger("llmkit")


def undefined(figure: str, reason: str) -> Scores:
    """The figure as 0, never NaN, which JSON cannot hold and no comparison survives; details `undefined` say why."""
    _log.warning("%s is not defined, and given as 0: %s", figure, reason)
    return Scores({figure: 0.0}, {"undefined": {figure: reason}})

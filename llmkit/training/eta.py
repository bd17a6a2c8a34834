"""The time that a training still takes, from the times of its steps, evaluations and saves. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from llmkit.training.schedule import Plan

Pause = Literal["evaluation", "save"]
_FEWEST, _SECONDS = 50, 300.0
"""The average covers half of the steps so far, but at most five minutes, and at least so many steps."""
_MOST = 2.0
"""A step counts at most so many times the average; the rest of its time counts in the steps after it."""


@dataclass(frozen=True)
class Eta:
    """An estimate that a slow step changes little: an average over many steps, each limited to twice the average.

    What is over that limit is not lost, but added to the steps after it: the estimate on a machine that has become slow
    grows step by step. The first step, which loads libraries, does not count.
    """

    started: bool = False
    steps: int = 0
    """Steps so far, without the first."""
    step_seconds: float = 0.0
    """On average."""
    owed_seconds: float = 0.0
    """Time of earlier steps that is still to be counted."""
    pauses: Mapping[Pause, tuple[int, float]] = field(default_factory=dict)
    """Kind -> number, and seconds altogether."""

    def after_step(self, seconds: float) -> Eta:
        """
        Args:
            seconds: since the step or the pause before it.
        """
        if not self.started:
            return replace(self, started=True)
        if not self.steps:
            return replace(self, steps=1, step_seconds=seconds)
        seconds += self.owed_seconds
        counted = min(seconds, _MOST * self.step_seconds)
        steps = self.steps + 1
        recent = _SECONDS / max(self.step_seconds, 1e-9)
        average = self.step_seconds + (counted - self.step_seconds) / min(steps, max(_FEWEST, min(steps / 2, recent)))
        return replace(self, steps=steps, step_seconds=average, owed_seconds=seconds - counted)

    def after_pause(self, kind: Pause, seconds: float) -> Eta:
        count, total = self.pauses.get(kind, (0, 0.0))
        return replace(self, pauses={**self.pauses, kind: (count + 1, total + seconds)})

    def remaining_seconds(self, plan: Plan, step: int) -> float | None:
        """Seconds until the last step is evaluated and saved; None after the first step, which says nothing.

        A kind of pause that has not happened yet does not count.

        Args:
            step: number of completed steps of the plan.
        """
        if not self.steps:
            return None
        left = {"evaluation": plan.evaluations_left(step), "save": plan.saves_left(step)}
        pauses = sum(left[kind] * total / count for kind, (count, total) in self.pauses.items())
        return (plan.total_steps - step) * self.step_seconds + pauses

"""The schedule of a training run, as plain numbers and pure functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from typing_extensions import assert_never

from llmkit.data.order import steps_per_epoch
from llmkit.errors import UsageError
from llmkit.models.families import Family
from llmkit.recipe.blocks import TrainBlock, parse_share
from llmkit.recipe.recipe import Recipe

Schedule = Literal["constant", "linear", "cosine"]

# With `optimizer: adamw-scaled`, shares of a weight's own size. Nawrot 2023 (nanoT5, optim.base_lr) from random weights;
# Raffel et al. 2020, section 3.1.2 (AdaFactor at 1e-3) from pretrained ones.
_SCALED_RATE = {"random": 2e-2, "pretrained": 1e-3}
_EPOCHS = 3.0


def lr_at(step: int, *, peak: float, total_steps: int, warmup_steps: int, schedule: Schedule) -> float:
    """Learning rate of a step, counted from 0: linear warm-up to `peak`, then the schedule, decaying to 0 at the end."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    match schedule:
        case "constant":
            return peak
        case "linear":
            return peak * (1 - progress)
        case "cosine":
            return peak * (1 + math.cos(math.pi * progress)) / 2
        case _:
            assert_never(schedule)


@dataclass(frozen=True)
class Plan:
    """The steps of a training run, once the number of examples is known."""

    total_steps: int
    steps_per_epoch: int
    warmup_steps: int
    peak_learning_rate: float
    evaluate_every_steps: int
    save_every_steps: int | None
    """None: at each evaluation."""

    def learning_rate(self, step: int, *, schedule: Schedule) -> float:
        """Learning rate of a step, counted from 0."""
        return lr_at(
            step,
            peak=self.peak_learning_rate,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            schedule=schedule,
        )

    def evaluates_after(self, step: int) -> bool:
        return step % self.evaluate_every_steps == 0 or step == self.total_steps

    def saves_after(self, step: int) -> bool:
        return self.evaluates_after(step) or (self.save_every_steps is not None and step % self.save_every_steps == 0)

    def evaluations_left(self, step: int) -> int:
        """Number of evaluations after so many completed steps; after 0, of all."""
        return -(-self.total_steps // self.evaluate_every_steps) - step // self.evaluate_every_steps

    def saves_left(self, step: int) -> int:
        """Number of checkpoints that are saved after so many completed steps."""
        if self.save_every_steps is None:
            return self.evaluations_left(step)
        every, both = self.save_every_steps, math.lcm(self.save_every_steps, self.evaluate_every_steps)
        with_an_evaluation = self.total_steps // both - step // both
        if self.total_steps % self.evaluate_every_steps:  # the last step is evaluated, too
            with_an_evaluation += self.total_steps % every == 0
        return self.evaluations_left(step) + self.total_steps // every - step // every - with_an_evaluation


@dataclass(frozen=True)
class RateGap:
    """A step, counted from 0, and its learning rate under two plans."""

    step: int
    before: float
    after: float


def widest_gap(before: Plan, after: Plan, *, schedule: Schedule, steps_done: int) -> RateGap | None:
    """The completed step whose learning rate differs most between two plans; None if all are equal."""
    gaps = (
        RateGap(step, before.learning_rate(step, schedule=schedule), after.learning_rate(step, schedule=schedule))
        for step in range(steps_done)
    )
    widest = max(gaps, key=lambda gap: abs(gap.after - gap.before), default=None)
    return None if widest is None or widest.after == widest.before else widest


def plan_training(recipe: Recipe, *, examples: int, family: Family, from_scratch: bool) -> Plan:
    """Count the steps.

    Raises:
        UsageError: the warm-up is longer than the training.
    """
    train = recipe.train
    per_epoch = steps_per_epoch(examples, batch_size=train.batch_size)
    total = train.steps or max(1, round((train.epochs or _EPOCHS) * per_epoch))
    warmup = _warmup_steps(train, total)
    if warmup >= total > 1:
        raise UsageError(f"train.warmup: {warmup} steps, but the training has only {total}; set fewer warm-up steps.")
    return Plan(
        total_steps=total,
        steps_per_epoch=per_epoch,
        warmup_steps=warmup,
        peak_learning_rate=_peak_rate(train, family, from_scratch=from_scratch),
        evaluate_every_steps=_interval_steps(recipe.evaluation.every, per_epoch),
        save_every_steps=train.save_every,
    )


def _peak_rate(train: TrainBlock, family: Family, *, from_scratch: bool) -> float:
    if train.learning_rate != "auto":
        return train.learning_rate
    if train.optimizer == "adamw-scaled":
        return _SCALED_RATE["random" if from_scratch else "pretrained"]
    rates = family.learning_rates
    return rates.random if from_scratch else rates.pretrained if train.lora is None else rates.lora


def _warmup_steps(train: TrainBlock, total: int) -> int:
    if isinstance(train.warmup, int):
        return train.warmup
    share = parse_share(train.warmup)
    assert share is not None, "the recipe has checked it"
    return math.floor(share * total + 1e-9)  # 0.29 * 100 is 28.999999999999996


def _interval_steps(interval: str, per_epoch: int) -> int:
    count, unit = interval.split()
    return int(count) * (per_epoch if unit.startswith("epoch") else 1)

"""The time that a training still takes: steady where steps are not, and right in the end."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from llmkit.training.eta import Eta
from llmkit.training.schedule import Plan


def plan(steps: int, *, evaluate: int = 10**6, save: int | None = None) -> Plan:
    return Plan(
        total_steps=steps,
        steps_per_epoch=steps,
        warmup_steps=0,
        peak_learning_rate=1e-3,
        evaluate_every_steps=evaluate,
        save_every_steps=save,
    )


@pytest.mark.parametrize("seed", range(5))
def test_spikes_of_ten_times_change_the_estimate_by_less_than_a_third_from_step_to_step(seed: int) -> None:
    rng, eta, total = random.Random(seed), Eta(), plan(2000)
    seconds = [10.0 if rng.random() < 0.05 else 1.0 for _ in range(total.total_steps)]
    estimates = []
    for step, taken in enumerate(seconds, 1):
        eta = eta.after_step(taken)
        if step > 5:
            estimates.append(eta.remaining_seconds(total, step) or 0.0)
    changes = [after / before for before, after in pairwise(estimates[:-20])]  # the last steps are few
    assert max(changes) < 4 / 3
    assert min(changes) > 3 / 4
    late = changes[100:1900]
    assert max(late) < 1.03
    half = estimates[1000 - 6]
    assert half == pytest.approx(sum(seconds[1000:]), rel=0.25)


def test_the_first_step_does_not_count() -> None:
    eta = Eta().after_step(30.0)
    assert eta.remaining_seconds(plan(10), 1) is None
    assert eta.after_step(1.0).remaining_seconds(plan(10), 2) == pytest.approx(8.0)


def test_a_machine_that_becomes_slower_is_followed() -> None:
    eta = Eta()
    for step in range(400):
        eta = eta.after_step(1.0 if step < 200 else 3.0)
    assert eta.step_seconds == pytest.approx(3.0, rel=0.3)


def test_evaluations_and_saves_that_are_left_count() -> None:
    eta = Eta().after_step(1.0).after_step(1.0).after_pause("evaluation", 20.0).after_pause("save", 5.0)
    assert eta.remaining_seconds(plan(100, evaluate=10), 20) == pytest.approx(80 + 8 * 20 + 8 * 5)


@pytest.mark.parametrize(("steps", "evaluate", "save"), [(20, 6, 4), (20, 5, None), (7, 10, 3), (12, 4, 6), (9, 3, 9)])
def test_what_is_left_is_what_the_plan_still_does(steps: int, evaluate: int, save: int | None) -> None:
    whole = plan(steps, evaluate=evaluate, save=save)
    for step in range(steps):
        later = range(step + 1, steps + 1)
        assert whole.evaluations_left(step) == sum(map(whole.evaluates_after, later))
        assert whole.saves_left(step) == sum(map(whole.saves_after, later))

from __future__ import annotations

import math
from typing import Any

import pytest
from builders import recipe_of
from facts import facts
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import UsageError
from llmkit.models.families import FAMILIES
from llmkit.recipe.blocks import EvaluationBlock, TrainBlock
from llmkit.training.schedule import Plan, Schedule, lr_at, plan_training

PEAK = 0.08


def rates(schedule: Schedule, *, total: int, warmup: int) -> list[float]:
    return [
        lr_at(step, peak=PEAK, total_steps=total, warmup_steps=warmup, schedule=schedule) for step in range(total + 1)
    ]


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [0.02, 0.04, 0.06, 0.08, 0.08, 0.08, 0.08, 0.08, 0.08]),
        ("linear", [0.02, 0.04, 0.06, 0.08, 0.08, 0.06, 0.04, 0.02, 0.0]),
        ("cosine", [0.02, 0.04, 0.06, 0.08, 0.08, 0.04 + 0.04 * math.sqrt(0.5), 0.04, 0.04 - 0.04 * math.sqrt(0.5), 0]),
    ],
)
def test_four_steps_of_warm_up_then_the_schedule(schedule: Schedule, wanted: list[float]) -> None:
    assert rates(schedule, total=8, warmup=4) == pytest.approx(wanted)


@given(st.sampled_from(["linear", "cosine"]), st.integers(1, 200), st.data())
def test_rates_rise_to_the_peak_then_fall_to_zero_and_no_step_has_none(
    schedule: Schedule, total: int, data: st.DataObject
) -> None:
    warmup = data.draw(st.integers(0, total - 1))
    every = rates(schedule, total=total, warmup=warmup)
    assert every[: warmup + 1] == pytest.approx(sorted(every[: warmup + 1]))
    assert every[warmup:] == pytest.approx(sorted(every[warmup:], reverse=True))
    assert every[warmup] == pytest.approx(PEAK)
    assert every[total] == pytest.approx(0, abs=1e-12)
    assert all(rate > 0 for rate in every[:total])


def plan_of(train: dict[str, Any], *, examples: int = 45, every: str = "1 epoch", scratch: bool = True) -> Plan:
    recipe = recipe_of(
        "classification", train=TrainBlock(**{"batch_size": 10, **train}), evaluation=EvaluationBlock(every=every)
    )
    return plan_training(recipe, examples=examples, family=FAMILIES["bert"], from_scratch=scratch)


@pytest.mark.parametrize(
    ("train", "total"),
    [({}, 15), ({"epochs": 2.0}, 10), ({"epochs": 0.5}, 2), ({"epochs": 0.01}, 1), ({"steps": 7}, 7)],
)
def test_steps_of_45_examples_in_batches_of_10(train: dict[str, Any], total: int) -> None:
    plan = plan_of(train)
    assert plan.steps_per_epoch == 5
    assert plan.total_steps == total


@pytest.mark.parametrize(
    ("warmup", "steps"), [("10%", 10), ("29%", 29), ("7%", 7), ("0.5%", 0), ("0%", 0), (13, 13), (0, 0)]
)
def test_warm_up_as_a_share_or_a_number_of_100_steps(warmup: str | int, steps: int) -> None:
    assert plan_of({"steps": 100, "warmup": warmup}).warmup_steps == steps


def test_a_warm_up_that_fills_the_training_is_refused() -> None:
    with pytest.raises(UsageError, match=facts("train.warmup", 5, "steps")):
        plan_of({"steps": 5, "warmup": 5})


@pytest.mark.parametrize(
    ("optimizer", "scratch", "rate"),
    [("adamw", True, 1e-3), ("adamw", False, 5e-5), ("adamw-scaled", True, 2e-2), ("adamw-scaled", False, 1e-3)],
)
def test_the_peak_is_that_of_family_and_optimizer_or_the_recipes(optimizer: str, scratch: bool, rate: float) -> None:
    assert plan_of({"optimizer": optimizer}, scratch=scratch).peak_learning_rate == rate
    assert plan_of({"optimizer": optimizer, "learning_rate": 0.3}, scratch=scratch).peak_learning_rate == 0.3


@pytest.mark.parametrize(
    ("every", "steps"), [("1 epoch", [5, 10, 12]), ("2 epochs", [10, 12]), ("4 steps", [4, 8, 12]), ("99 steps", [12])]
)
def test_evaluations_come_at_their_interval_and_after_the_last_step(every: str, steps: list[int]) -> None:
    plan = plan_of({"steps": 12}, every=every)
    assert [step for step in range(1, 13) if plan.evaluates_after(step)] == steps
    assert [step for step in range(1, 13) if plan.saves_after(step)] == steps


def test_checkpoints_come_at_their_own_interval_too() -> None:
    plan = plan_of({"steps": 12, "save_every": 3})
    assert [step for step in range(1, 13) if plan.saves_after(step)] == [3, 5, 6, 9, 10, 12]

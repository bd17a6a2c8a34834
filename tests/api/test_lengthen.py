"""A run goes on to more steps where those already done would have been the same, and keeps its model until the new one."""

from __future__ import annotations

import ctypes
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import full_disk
from facts import facts, says
from hypothesis import given
from hypothesis import strategies as st
from repetitions import quick_if
from tiny_recipes import listing
from tiny_recipes import llmkit as command_line

import llmkit
from llmkit.api import StepResult
from llmkit.atomic import publish_folder, verify_folder
from llmkit.errors import MachineError, RecipeError, RunError
from llmkit.runs.folder import Run
from llmkit.training.schedule import Plan, RateGap, Schedule, widest_gap

CONSTANT = ("train.schedule=constant", "train.warmup=2", "train.steps=6")
EVERY = "evaluation.every=4 steps"
"""The old end, step 6, is evaluated only because it was the end."""
TASKS = ("classify", "write")


class Killed(BaseException):
    """Ends a training where it stands."""


def train(name: str, *overrides: str, run: str, report: Callable[[Any], None] = lambda event: None) -> Path:
    """With dropout: the draws of each step must be the same too."""
    given = [EVERY, "model.dropout=0.2", *overrides]
    assert llmkit.finetune(f"{name}.yaml", overrides=given, run=run, report=report) is not None
    return Path(run)


def lengthen(run: Path, *overrides: str, report: Callable[[Any], None] = lambda event: None) -> llmkit.Finetuned:
    finished = llmkit.finetune(resume=run, overrides=overrides, report=report)
    assert finished is not None
    return finished


def kill_after(step: int) -> Callable[[Any], None]:
    def report(event: Any) -> None:
        if isinstance(event, StepResult) and event.step == step:
            raise Killed

    return report


def state_at(run: Path, step: int) -> dict[str, bytes]:
    """All that the next step depends on."""
    folder = run / f"checkpoints/step-{step:08d}"
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")}


def manifest_of(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def metrics_of(run: Path, name: str) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line[name]) for line in lines if name in line]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- what is allowed


@pytest.mark.parametrize("name", quick_if("write".__eq__, TASKS))
def test_a_finished_run_lengthened_is_the_longer_run_bit_for_bit(work: Path, name: str) -> None:
    whole = train(name, *CONSTANT, "train.steps=12", run="whole")
    run = train(name, *CONSTANT, run="short")
    assert not lengthen(run, "train.steps=12").already_complete
    assert state_at(run, 12) == state_at(whole, 12)
    assert metrics_of(run, "train/loss") == metrics_of(whole, "train/loss")
    assert [step for step, _ in metrics_of(run, "evaluation/loss")] == [4, 6, 8, 12]


def test_the_best_of_all_evaluations_becomes_the_model_and_the_run_says_what_was_changed(work: Path) -> None:
    run = train("write", *CONSTANT, run="short")
    assert "replanned" not in manifest_of(run)
    finished = lengthen(run, "train.steps=12")
    best_step, loss = min(metrics_of(run, "evaluation/loss"), key=lambda line: line[1])
    assert (finished.best_step, finished.scores["loss"]) == (best_step, loss)
    assert verify_folder(run / "model")["step"] == best_step > 6
    assert (run / "model/model.safetensors").read_bytes() == state_at(run, best_step)["model.safetensors"]
    assert (run / "recipe.yaml").read_text().rstrip() in (run / "model/README.md").read_text()
    manifest = manifest_of(run)
    assert (manifest["status"], manifest["total_steps"]) == ("finished", 12)
    (change,) = manifest["replanned"]
    assert (change["from"], change["to"], change["at_step"]) == (6, 12, 6)
    assert lengthen(run).already_complete
    assert lengthen(run, "train.steps=12").already_complete


def test_a_better_step_before_the_old_end_stays_the_best(work: Path) -> None:
    worse_and_worse = ("train.learning_rate=10", "train.max_grad_norm=null", "train.keep_checkpoints=1")
    run = train("write", *CONSTANT, *worse_and_worse, run="short")
    before = manifest_of(run)["best"]
    assert lengthen(run, "train.steps=12").best_step == before["step"]
    assert manifest_of(run)["best"] == before
    assert verify_folder(run / "model")["step"] == before["step"]


@pytest.mark.parametrize("name", quick_if("write".__eq__, TASKS))
def test_killed_while_lengthened_it_keeps_the_old_model_and_goes_on_to_the_same_bytes(work: Path, name: str) -> None:
    whole = train(name, *CONSTANT, "train.steps=12", run="whole")
    run = train(name, *CONSTANT, run="short")
    model = contents(run / "model")
    with pytest.raises(Killed):
        lengthen(run, "train.steps=12", report=kill_after(9))
    assert manifest_of(run)["status"] == "running"
    assert contents(run / "model") == model
    llmkit.load(str(run))  # it can be used meanwhile
    lengthen(run)
    assert manifest_of(run)["status"] == "finished"
    assert state_at(run, 12) == state_at(whole, 12)


@pytest.mark.parametrize("schedule", quick_if("cosine".__eq__, ["linear", "cosine"]))
def test_a_falling_schedule_can_be_lengthened_during_its_warm_up(work: Path, schedule: str) -> None:
    given = (f"train.schedule={schedule}", "train.warmup=4", "train.save_every=1")
    whole = train("write", *given, "train.steps=12", run="whole")
    with pytest.raises(Killed):
        train("write", *given, "train.steps=8", run="short", report=kill_after(4))
    lengthen(Path("short"), "train.steps=12")
    assert state_at(Path("short"), 12) == state_at(whole, 12)


def test_a_run_that_was_stopped_can_be_shortened_to_more_than_it_has_done(work: Path) -> None:
    whole = train("write", *CONSTANT, run="whole")
    with pytest.raises(Killed):
        train("write", *CONSTANT, "train.steps=12", run="long", report=kill_after(5))
    lengthen(Path("long"), "train.steps=6")
    assert state_at(Path("long"), 6) == state_at(whole, 6)
    assert [(change["from"], change["to"]) for change in manifest_of(Path("long"))["replanned"]] == [(12, 6)]


def test_the_command_line_lengthens_a_run_by_epochs_and_tells_a_refusal_in_one_line(work: Path) -> None:
    common = [part for value in (*CONSTANT[:2], EVERY, "train.epochs=1") for part in ("--set", value)]
    whole = command_line("finetune", "classify.yaml", *common, "--set", "train.epochs=3", "--run", "whole")
    assert whole.code == 0, whole.err
    assert command_line("finetune", "classify.yaml", *common, "--run", "short").code == 0
    done, total = (manifest_of(Path(run))["total_steps"] for run in ("short", "whole"))

    refused = command_line("finetune", "--resume", "short", "--set", "train.steps=1")
    assert (refused.code, refused.out) == (2, "")
    says(refused.err.splitlines()[-1], "error[recipe]: short:", f"{done} steps", 1)
    outcome = command_line("finetune", "--resume", "short", "--set", "train.epochs=3")
    assert outcome.code == 0, outcome.err
    says(outcome.err, "resumed", f"step {done}")
    assert outcome.out.startswith("short  accuracy ")
    assert state_at(Path("short"), total) == state_at(Path("whole"), total)
    again = command_line("finetune", "--resume", "short", "--set", "train.epochs=3")
    says(again.err, "short", "complete")


# ---- what is refused


def refusal(run: Path, *overrides: str) -> str:
    """The message; nothing in the run's folder may change."""
    before = {name: at for name, at in listing(run).items() if name != "lock"}
    with pytest.raises(RecipeError) as caught:
        llmkit.finetune(resume=run, overrides=overrides)
    assert {name: at for name, at in listing(run).items() if name != "lock"} == before
    return str(caught.value)


def test_a_falling_schedule_is_refused_after_its_warm_up_with_both_rates_and_the_way_out(work: Path) -> None:
    run = train("write", "train.schedule=linear", "train.warmup=2", "train.learning_rate=1e-3", run="linear")
    message = refusal(run, "train.steps=10")
    says(message, "linear: train.schedule", "10 steps", "step 6", "0.000625", "0.00025")
    says(message, "train.schedule: constant", "model: linear")


def test_a_warm_up_that_would_grow_is_refused_and_the_advice_helps(work: Path) -> None:
    share = ("train.schedule=constant", "train.warmup=50%", "train.learning_rate=1e-3")
    run = train("write", *share, run="share")
    message = refusal(run, "train.steps=12")
    says(message, "share: train.warmup", "6 steps", 3, "12 steps", "step 3", "0.0005", "0.001")
    says(message, "--set train.warmup=3", "model: share")
    whole = train("write", *share, "train.warmup=3", "train.steps=12", run="whole")
    lengthen(run, "train.steps=12", "train.warmup=3")
    assert state_at(run, 12) == state_at(whole, 12)


@pytest.mark.parametrize("overrides", [("train.steps=5",), ("train.steps=6", "train.warmup=0")])
def test_a_plan_that_leaves_nothing_to_do_is_refused(work: Path, overrides: tuple[str, ...]) -> None:
    run = train("write", *CONSTANT, run="short")
    total = overrides[0][-1]
    message = refusal(run, *overrides)
    assert message.startswith("short: ")
    says(message, "6 steps", total)


def test_a_run_that_ran_out_of_patience_is_refused(work: Path) -> None:
    worse_and_worse = ("train.learning_rate=1", "train.max_grad_norm=null", "evaluation.every=1 step")
    run = train("write", *CONSTANT, "train.steps=50", *worse_and_worse, "evaluation.patience=2", run="stopped")
    last = metrics_of(run, "train/loss")[-1][0]
    assert last < 50
    message = refusal(run, "train.steps=100")
    says(message, "stopped: evaluation.patience", 2, f"step {last}")


def test_another_key_is_refused_beside_the_steps(work: Path) -> None:
    run = train("write", *CONSTANT, run="short")
    says(refusal(run, "train.steps=12", "train.seed=3"), "train.seed", 17, 3)
    says(refusal(run, "train.steps=12", "train.schedule=linear"), "train.schedule", "'constant'", "'linear'")


def test_a_finished_run_without_checkpoints_does_not_start_at_step_0(work: Path) -> None:
    run = train("write", *CONSTANT, run="short")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(RunError, match=facts("short", "checkpoint", "model: short")):
        llmkit.finetune(resume=run, overrides=["train.steps=12"])
    assert manifest_of(run)["status"] == "finished"


# ---- the rule


def plan(total: int, warmup: int) -> Plan:
    return Plan(total, 5, warmup, peak_learning_rate=0.08, evaluate_every_steps=5, save_every_steps=None)


@pytest.mark.parametrize(
    ("schedule", "before", "after", "done", "wanted"),
    [
        ("constant", plan(8, 4), plan(16, 4), 8, None),
        ("constant", plan(8, 4), plan(16, 8), 0, None),
        ("constant", plan(8, 4), plan(16, 8), 1, RateGap(0, 0.02, 0.01)),
        ("constant", plan(8, 4), plan(16, 8), 8, RateGap(3, 0.08, 0.04)),
        ("constant", plan(8, 0), plan(16, 1), 8, None),  # one step of warm-up begins at the peak
        ("linear", plan(8, 4), plan(16, 4), 5, None),  # the first step after the warm-up still has the peak
        ("linear", plan(8, 4), plan(12, 4), 6, RateGap(5, 0.06, 0.07)),
        ("linear", plan(8, 4), plan(12, 4), 8, RateGap(7, 0.02, 0.05)),
        ("cosine", plan(8, 4), plan(12, 4), 4, None),
    ],
)
def test_the_gap_is_that_of_the_step_which_differs_most(
    schedule: Schedule, before: Plan, after: Plan, done: int, wanted: RateGap | None
) -> None:
    gap = widest_gap(before, after, schedule=schedule, steps_done=done)
    assert (gap is None) == (wanted is None)
    if gap is not None and wanted is not None:
        assert (gap.step, gap.before, gap.after) == pytest.approx((wanted.step, wanted.before, wanted.after))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 59))
def test_a_constant_schedule_with_the_same_warm_up_never_has_a_gap(steps: int, more: int, warmup: int) -> None:
    before, after = plan(steps, min(warmup, steps - 1)), plan(steps + more, min(warmup, steps - 1))
    assert widest_gap(before, after, schedule="constant", steps_done=steps) is None


# ---- the model's place

OLD = {"model.safetensors": b"old weights", "README.md": b"the old card"}
NEW = {"model.safetensors": b"new weights", "README.md": b"the new card"}


def run_with_model(folder: Path) -> Run:
    run = Run(folder)
    run.publish_model(OLD, step=6)
    return run


def model_in(run: Run) -> dict[str, bytes]:
    verify_folder(run.model)
    return {name: content for name, content in contents(run.model).items() if name != "MANIFEST.json"}


def test_at_every_call_of_a_replacement_the_old_or_the_new_model_is_whole(tmp_path: Path) -> None:
    run = run_with_model(tmp_path)
    seen = []

    def look(*event: object) -> None:
        try:
            seen.append(model_in(run))
        except Exception as error:
            seen.append({str(error): b""})

    sys.setprofile(look)  # a kill can come at any of these moments
    try:
        run.publish_model(NEW, step=12)
    finally:
        sys.setprofile(None)
    assert len(seen) > 100
    first_new = seen.index(NEW)
    assert first_new > 0
    assert all(model == OLD for model in seen[:first_new])
    assert all(model == NEW for model in seen[first_new:])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert verify_folder(run.model)["step"] == 12


def test_a_replacement_that_fails_leaves_the_old_model(tmp_path: Path) -> None:
    run = run_with_model(tmp_path)
    with full_disk(file_bytes=100), pytest.raises(MachineError, match=facts("File too large")):
        run.publish_model({**NEW, "README.md": b"long" * 100}, step=12)
    assert model_in(run) == OLD


def test_what_a_kill_has_left_of_a_replacement_does_not_hinder_the_next(tmp_path: Path) -> None:
    run = run_with_model(tmp_path)
    publish_folder(tmp_path / ".tmp-model", NEW, about={})
    (tmp_path / ".tmp-model-aside").mkdir()
    run.publish_model(NEW, step=12)
    assert model_in(run) == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_where_folders_cannot_change_places_in_one_step_the_model_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with_model(tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # a C library without renameat2
    run.publish_model(NEW, step=12)
    assert model_in(run) == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["model"]

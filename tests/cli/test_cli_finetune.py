"""`finetune`: overrides, run folders, interruption and continuation, several processes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import command, environment, listing, llmkit, llmkit_process

LONG = ("--set", "train.steps=120", "--set", "train.batch_size=4", "--set", "evaluation.every=60 steps")


def weights_of(run: Path) -> str:
    return hashlib.sha256((run / "model/model.safetensors").read_bytes()).hexdigest()


def manifest_of(run: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((run / "run.json").read_text())
    return content


def test_set_changes_a_value_and_the_run_folder_says_so(work: Path) -> None:
    outcome = llmkit("finetune", "classify.yaml", "--set", "train.steps=3", "--set", "train.seed=5", "--run", "mine")
    assert outcome.code == 0, outcome.err
    assert manifest_of(work / "mine")["total_steps"] == 3
    assert manifest_of(work / "mine")["seed"] == 5
    assert "seed: 5" in (work / "mine/recipe.yaml").read_text()
    assert not (work / "runs").exists()


def test_the_result_is_one_line_and_the_next_command_is_told(own_runs: Path) -> None:
    outcome = llmkit("finetune", "classify.yaml", "--set", "train.steps=2")
    assert outcome.out.startswith("runs/classify-002  accuracy 0.")
    assert outcome.out.count("\n") == 1
    next_command = 'llmkit classify "a text" --model runs/classify-002'
    assert next_command in outcome.err
    assert llmkit("classify", "a text", "--model", "runs/classify-002").code == 0


def test_progress_without_a_terminal_is_plain_lines(work: Path) -> None:
    outcome = llmkit("finetune", "classify.yaml", "--set", "train.steps=4", "--set", "evaluation.every=2 steps")
    assert "\x1b" not in outcome.err
    assert "\r" not in outcome.err
    lines = outcome.err.splitlines()
    assert any(line.startswith("step 4/4  loss ") for line in lines)
    assert sum(line.startswith(("step 2 validation", "step 4 validation")) for line in lines) == 2


@pytest.mark.parametrize(
    ("name", "advice"), [("runs/classify-001", "--resume runs/classify-001"), ("classify.yaml", "")]
)
def test_a_run_folder_that_exists_is_refused_and_untouched(own_runs: Path, name: str, advice: str) -> None:
    before = listing(own_runs)
    outcome = llmkit("finetune", "classify.yaml", "--run", name)
    assert (outcome.code, outcome.out) == (4, "")
    says(outcome.err, "error[run]:", f"{name} ", advice)
    assert listing(own_runs) == before


def test_resuming_a_finished_run_says_so_and_changes_no_file(own_runs: Path) -> None:
    before = listing(own_runs)
    outcome = llmkit("finetune", "--resume", "runs/classify-001")
    assert outcome.code == 0
    says(outcome.err, "runs/classify-001", "complete")
    assert outcome.out.startswith("runs/classify-001  accuracy ")
    assert listing(own_runs) == before


def test_a_changed_recipe_is_refused_with_old_and_new_values(own_runs: Path) -> None:
    changes = ("--set", "train.learning_rate=2e-3", "--set", "train.steps=30")
    outcome = llmkit("finetune", "classify.yaml", "--resume", "runs/classify-001", *changes)
    assert (outcome.code, outcome.out) == (2, "")
    rate, steps, advice = outcome.err.splitlines()
    says(rate, "error[recipe]: runs/classify-001: train.learning_rate", "0.001", "0.002")
    says(steps, "error[recipe]: runs/classify-001: train.steps", 24, 30)
    says(advice, "error[recipe]: runs/classify-001: ", "--resume")


def test_a_recipe_of_another_task_is_refused_by_its_task_alone(own_runs: Path) -> None:
    outcome = llmkit("finetune", "write.yaml", "--resume", "runs/classify-001")
    assert outcome.code == 2
    says(outcome.err.splitlines()[0], "error[recipe]:", "task", "'classification'", "'causal-lm'")
    assert len(outcome.err.splitlines()) == 2


def unfinish(run: Path) -> None:
    """Bring a copy of a finished run back to where it stood after its first checkpoint."""
    newest = sorted((run / "checkpoints").iterdir())[-1]
    shutil.rmtree(newest)
    shutil.rmtree(run / "model")
    (run / "run.json").write_text(json.dumps({**manifest_of(run), "status": "running", "best": None}))


def test_data_that_changed_since_the_run_began_are_refused_with_the_file_and_both_hashes(own_runs: Path) -> None:
    unfinish(own_runs / "runs/classify-001")
    rows = own_runs / "rows.jsonl"
    then = hashlib.sha256(rows.read_bytes()).hexdigest()[:12]
    rows.write_bytes(rows.read_bytes().replace(b"soup", b"soap", 1))
    now = hashlib.sha256(rows.read_bytes()).hexdigest()[:12]
    outcome = llmkit("finetune", "--resume", "runs/classify-001")
    assert (outcome.code, outcome.out) == (3, "")
    says(outcome.err, "error[data]:", "rows.jsonl", "runs/classify-001", then, now)


@pytest.mark.parametrize("name", ["classify", "write", "summarize"])
def test_a_run_that_lost_its_last_checkpoint_ends_in_the_same_bytes(own_runs: Path, trained: Path, name: str) -> None:
    run = own_runs / f"runs/{name}-001"
    unfinish(run)
    outcome = llmkit("finetune", "--resume", run.relative_to(own_runs))
    assert outcome.code == 0, outcome.err
    assert re.search(r"^resumed .*step \d+", outcome.err, re.MULTILINE)
    assert weights_of(run) == weights_of(trained / f"runs/{name}-001")
    scores = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in scores if "train/loss" in line]
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.slow
def test_sigterm_saves_the_step_and_the_continuation_ends_in_the_same_bytes(work: Path) -> None:
    whole = llmkit("finetune", "classify.yaml", *LONG, "--run", "whole")
    assert whole.code == 0, whole.err
    cut = subprocess.Popen(
        command("finetune", "classify.yaml", *LONG, "--run", "cut"),
        cwd=work, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = work / "cut/metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 20) and time.monotonic() < deadline:
        time.sleep(0.01)
    cut.send_signal(signal.SIGTERM)
    out, err = cut.communicate(timeout=60)
    assert (cut.returncode, out) == (143, ""), err
    step = len(metrics.read_text().splitlines())
    says(err, "error[interrupted]: cut:", "signal 15", f"step {step}", "--resume cut")
    assert "Traceback" not in err
    assert (work / f"cut/checkpoints/step-{step:08d}/MANIFEST.json").exists()
    assert manifest_of(work / "cut")["status"] == "interrupted"

    resumed = llmkit("finetune", "--resume", "cut")
    assert resumed.code == 0, resumed.err
    says(resumed.err, "resumed", f"step {step}")
    assert "warning" not in resumed.err
    assert weights_of(work / "cut") == weights_of(work / "whole")


@pytest.mark.slow
def test_two_processes_without_a_gpu_make_one_run_and_tell_an_error_once(work: Path) -> None:
    outcome = llmkit_process("finetune", "classify.yaml", "--set", "train.steps=3", "--processes", "2", cwd=work)
    assert outcome.code == 0, outcome.err
    assert [path.name for path in (work / "runs").iterdir()] == ["classify-001"]
    assert json.loads((work / "runs/classify-001/env.json").read_text())["world_size"] == 2
    assert outcome.out.count("\n") == 1
    assert outcome.err.count("model      bert-tiny") == 1
    assert llmkit("classify", "goal team").code == 0

    failed = llmkit_process(
        "finetune", "classify.yaml", "--set", "data.train=missing.jsonl", "--processes", "2", cwd=work
    )
    assert (failed.code, failed.out) == (3, "")
    says(failed.err, "error[data]: missing.jsonl:", work, "'rows.jsonl'")
    assert failed.err.count("\n") == 1


def test_a_run_that_another_process_holds_is_left_alone(own_runs: Path) -> None:
    from llmkit.runs.lock import locked

    unfinish(own_runs / "runs/classify-001")
    with locked(own_runs / "runs/classify-001"):
        outcome = llmkit("finetune", "--resume", "runs/classify-001")
    assert (outcome.code, outcome.out) == (5, "")
    says(outcome.err, "error[environment]: runs/classify-001 ", f"pid {os.getpid()}")

"""What a training's weights do not depend on: how often it saves and evaluates, its folder's name, the hash seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import llmkit, llmkit_process


def last_weights(run: Path) -> bytes:
    """Of the last step, which is the best only by chance."""
    return (max((run / "checkpoints").iterdir()) / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["classify", "write", "summarize"])
def test_saving_and_evaluating_more_often_and_another_folder_leave_the_same_weights(
    name: str, trained: Path, work: Path
) -> None:
    keys = ("train.save_every=1", "train.keep_checkpoints=1", "evaluation.every=2 steps", "train.checks=false")
    options = [part for key in keys for part in ("--set", key)]
    outcome = llmkit("finetune", f"{name}.yaml", *options, "--run", "another name")
    assert outcome.code == 0, outcome.err
    assert last_weights(work / "another name") == last_weights(trained / f"runs/{name}-001")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classify", "write", "summarize"])
def test_the_hash_seed_leaves_the_same_weights(name: str, trained: Path, work: Path) -> None:
    environment = {"PYTHONHASHSEED": "12345", "LLMKIT_CACHE": str(work / "cache")}
    outcome = llmkit_process("finetune", f"{name}.yaml", "--run", "hashed", cwd=work, env=environment)
    assert outcome.code == 0, outcome.err
    assert last_weights(work / "hashed") == last_weights(trained / f"runs/{name}-001")


@pytest.mark.parametrize("key", ["threads", "cpu", "cpu_capability", "gpu"])
def test_a_resume_in_another_environment_says_that_it_is_not_exact(key: str, own_runs: Path) -> None:
    run = own_runs / "runs/write-001"
    saved = json.loads((run / "env.json").read_text())
    assert key in saved
    (run / "env.json").write_text(json.dumps({**saved, key: "another"}))
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    outcome = llmkit("finetune", "--resume", "runs/write-001")
    assert outcome.code == 0, outcome.err
    says(outcome.err, "warning:", "not bit-identical", key, "env.json")

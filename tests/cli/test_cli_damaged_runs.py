"""`finetune --resume` of a run whose files were damaged or lost: right, or refused; never from step 0 unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from facts import says
from tiny_recipes import llmkit

RUN = Path("runs/classify-001")


def checkpoints() -> list[Path]:
    return sorted((RUN / "checkpoints").iterdir())


def unfinish() -> bytes:
    """Take the run back to its first checkpoint; returns the weights that it ended with."""
    weights = (RUN / "model/model.safetensors").read_bytes()
    shutil.rmtree(checkpoints()[-1])
    shutil.rmtree(RUN / "model")
    content = json.loads((RUN / "run.json").read_text())
    (RUN / "run.json").write_text(json.dumps({**content, "status": "running", "best": None}))
    return weights


def test_without_a_checkpoint_that_can_be_used_training_starts_again_only_when_asked_for(own_runs: Path) -> None:
    weights = unfinish()
    damaged = {path.name: path / "model.safetensors" for path in checkpoints()}
    for file in damaged.values():
        file.write_bytes(file.read_bytes()[:-1])
    outcome = llmkit("finetune", "--resume", RUN)
    assert outcome.code == 4
    says(outcome.err, "error[run]", *damaged, "--restart")
    assert not (RUN / "model").exists()
    outcome = llmkit("finetune", "--resume", RUN, "--restart")
    assert outcome.code == 0, outcome.err
    assert (RUN / "model/model.safetensors").read_bytes() == weights
    assert {path.name for path in (RUN / "checkpoints.damaged-1").iterdir()} == set(damaged)


def test_checkpoints_of_another_run_are_not_passed_over(own_runs: Path) -> None:
    unfinish()
    content = json.loads((RUN / "run.json").read_text())
    other = ("1" if content["id"][0] == "0" else "0") + content["id"][1:]
    (RUN / "run.json").write_text(json.dumps({**content, "id": other}))
    outcome = llmkit("finetune", "--resume", RUN)
    assert outcome.code == 4
    says(outcome.err, "warning", "another run")
    says(outcome.err, "error[run]", "--restart")


def test_a_complete_checkpoint_is_not_thrown_away(own_runs: Path) -> None:
    unfinish()
    before = checkpoints()
    outcome = llmkit("finetune", "--resume", RUN, "--restart")
    assert outcome.code == 4
    says(outcome.err, "--restart", before[-1].name)
    assert checkpoints() == before
    assert llmkit("finetune", "classify.yaml", "--restart").code == 2


@pytest.mark.parametrize("lost", ["metrics.jsonl", "env.json"])
def test_a_lost_record_does_not_stop_a_resume(own_runs: Path, lost: str) -> None:
    weights = unfinish()
    (RUN / lost).unlink()
    outcome = llmkit("finetune", "--resume", RUN)
    assert outcome.code == 0, outcome.err
    says(outcome.err, "warning", lost)
    assert (RUN / "model/model.safetensors").read_bytes() == weights
    assert json.loads((RUN / "run.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"sources": [1]}', '{"sources": {"train": 3}}', "[" * 99_999]
)
@pytest.mark.parametrize("name", ["run.json", "data.json"])
def test_a_damaged_file_of_the_run_is_named(own_runs: Path, name: str, content: str) -> None:
    unfinish()
    (RUN / name).write_text(content)
    outcome = llmkit("finetune", "--resume", RUN)
    assert outcome.code == 4, outcome.err
    says(outcome.err, "error[run]", f"{RUN}/{name}")


@pytest.mark.parametrize("key", ["model", "task"])
def test_a_key_that_the_end_of_a_training_needs_is_missed_at_its_start(own_runs: Path, key: str) -> None:
    unfinish()
    content = json.loads((RUN / "run.json").read_text())
    (RUN / "run.json").write_text(json.dumps({name: value for name, value in content.items() if name != key}))
    before = checkpoints()
    outcome = llmkit("finetune", "--resume", RUN)
    assert outcome.code == 4, outcome.err
    says(outcome.err, "error[run]", f"{RUN}/run.json", key)
    assert checkpoints() == before


@pytest.mark.parametrize(
    "change", [{"task": "classificatiom"}, {"best": {"metric": "f2", "step": 3, "validation": {}}}]
)
def test_a_finished_run_with_a_damaged_record_is_named(own_runs: Path, change: dict[str, object]) -> None:
    content = json.loads((RUN / "run.json").read_text())
    (RUN / "run.json").write_text(json.dumps({**content, **change}))
    outcome = llmkit("finetune", "--resume", RUN)
    assert outcome.code == 4, outcome.err
    says(outcome.err, "error[run]", f"{RUN}/run.json", *change)


def test_records_that_nothing_needs_do_not_stop_the_end_of_a_training(own_runs: Path) -> None:
    """Times in metrics.jsonl, and the scale of a regression in the record of a classifier."""
    weights = unfinish()
    content = json.loads((RUN / "run.json").read_text())
    (RUN / "run.json").write_text(json.dumps({**content, "targets": "x", "replanned": [{"from": "x"}]}))
    path = RUN / "metrics.jsonl"
    path.write_text(path.read_text().replace("train/seconds", "train/seconde"))
    outcome = llmkit("finetune", "--resume", RUN)
    assert outcome.code == 0, outcome.err
    assert (RUN / "model/model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("key", ["name", "sha256"])
def test_an_entry_of_data_json_that_is_damaged_is_not_blamed_on_the_rows(own_runs: Path, key: str) -> None:
    unfinish()
    path = RUN / "data.json"
    content = json.loads(path.read_text())
    table = content["sources"]["train"][0]
    table[key] = f"{table[key][:-1]}{'1' if table[key][-1] == '0' else '0'}"
    path.write_text(json.dumps(content))
    outcome = llmkit("finetune", "--resume", RUN)
    assert outcome.code == 3, outcome.err
    says(outcome.err, "error[data]", path, "rows.jsonl")

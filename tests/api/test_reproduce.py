"""`reproduce`: the weights of a second training are those of the first, or the first difference is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_recipes import llmkit as run_llmkit
from tiny_recipes import rows, write_jsonl
from trained_runs import train_own

import llmkit
from llmkit.errors import DataError, RunError, UsageError

RECIPE = """recipe: 1
task: classification
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: own.jsonl, validation: 20%}
max_tokens: 24
train: {steps: 4, batch_size: 8, schedule: constant, warmup: 0, keep_checkpoints: 3}
evaluation: {every: 3 steps}
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, and a finished run of four steps: runs/a."""
    folder = tmp_path_factory.mktemp("reproduce")
    train_own(folder, RECIPE, run="runs/a")
    return folder


@pytest.fixture
def here(first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the current folder."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_that_is_trained_again_has_the_same_weights(here: Path) -> None:
    outcome = run_llmkit("reproduce", "runs/a", "--json")
    assert outcome.code == 0, outcome.err
    record = json.loads(outcome.out)
    assert record["identical"] is True
    assert record["differences"] == []
    assert record["weights"]["numbers"] > 100_000
    assert record["reproduced"] == "runs/a-reproduced-001"
    assert (here / "runs/a-reproduced-001/model/model.safetensors").read_bytes() == (
        here / "runs/a/model/model.safetensors"
    ).read_bytes()


def test_an_extended_run_has_the_weights_of_one_training_of_all_its_steps(here: Path) -> None:
    llmkit.finetune(resume="runs/a", overrides=["train.steps=6"])
    result = llmkit.reproduce("runs/a")
    assert result is not None
    assert result.identical
    assert result.differences == ()


def test_the_first_step_of_another_seed_is_named_and_the_exit_code_is_8(here: Path) -> None:
    llmkit.finetune("own.yaml", run="runs/b", overrides=["train.seed=3"])
    outcome = run_llmkit("reproduce", "runs/a", "--with", "runs/b", "--json")
    assert outcome.code == 8
    record = json.loads(outcome.out)
    recipe, metric = record["differences"]
    assert (recipe["part"], recipe["key"], recipe["before"], recipe["after"]) == ("recipe", "train.seed", 17, 3)
    assert (metric["part"], metric["step"], metric["key"]) == ("metrics", 1, "train/loss")
    assert 0 < len(record["weights"]["different"]) <= record["weights"]["tensors"]
    assert record["weights"]["largest"] > 0
    plain = run_llmkit("reproduce", "runs/a", "--with", "runs/b")
    assert plain.code == 8
    assert "train.seed was 17, is 3" in plain.out


def test_changed_data_is_an_error_before_training_unless_it_is_allowed(here: Path) -> None:
    write_jsonl(here / "own.jsonl", rows(41))
    with pytest.raises(DataError, match=r"own\.jsonl"):
        llmkit.reproduce("runs/a")
    assert [path.name for path in (here / "runs").iterdir()] == ["a"]
    result = llmkit.reproduce("runs/a", into="runs/b", allow_changed_data=True)
    assert result is not None
    assert not result.identical
    assert result.differences[0].part == "data"


def test_another_environment_is_a_warning_and_the_first_difference(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = here / "runs/a/env.json"
    machine = json.loads(path.read_text())
    path.write_text(json.dumps({**machine, "threads": 64, "packages": {**machine["packages"], "torch": "1.0"}}))
    result = llmkit.reproduce("runs/a")
    assert result is not None
    assert result.identical
    assert [difference.key for difference in result.differences] == ["packages.torch", "threads"]
    assert {difference.part for difference in result.differences} == {"environment"}
    assert "OMP_NUM_THREADS=64" in caplog.text


def test_a_run_without_complete_weights_cannot_be_reproduced(here: Path) -> None:
    manifest = json.loads((here / "runs/a/run.json").read_text())
    (here / "runs/a/run.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    with pytest.raises(RunError, match="--resume"):
        llmkit.reproduce("runs/a")
    (here / "runs/a/run.json").write_text(json.dumps(manifest))
    shutil.rmtree(here / "runs/a/model")
    with pytest.raises(RunError, match="model"):
        llmkit.reproduce("runs/a")


def test_a_recipe_that_was_edited_since_is_refused(here: Path) -> None:
    recipe = here / "runs/a/recipe.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 17", "seed: 18"))
    with pytest.raises(RunError, match=r"train\.seed"):
        llmkit.reproduce("runs/a")


def test_comparing_two_runs_trains_none(here: Path) -> None:
    shutil.copytree(here / "runs/a", here / "runs/b")
    result = llmkit.reproduce("runs/a", compare_with="runs/b")
    assert result is not None
    assert result.identical
    refused = run_llmkit("reproduce", "runs/a", "--with", "runs/b", "--run", "runs/c")
    assert refused.code == UsageError.exit_code
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["a", "b"]

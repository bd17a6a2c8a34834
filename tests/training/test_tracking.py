"""Live tracking: what each tool gets, at which steps; and that a training is the same with and without it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_recipes import llmkit_process
from trained_runs import train_own

import llmkit
from llmkit.errors import MachineError, RecipeError
from llmkit.training.progress import StepResult

RECIPE = """recipe: 1
task: classification
model: {architecture: bert, size: tiny, tokenizer: {vocab_size: 200}}
data: {train: own.jsonl, validation: 20%}
max_tokens: 24
train: {steps: 4, batch_size: 8, schedule: constant, warmup: 0}
evaluation: {every: 2 steps}
"""


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, and a run of four steps without trackers: runs/plain."""
    folder = tmp_path_factory.mktemp("tracking")
    train_own(folder, RECIPE, run="runs/plain")
    return folder


@pytest.fixture
def here(untracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the current folder."""
    shutil.copytree(untracked, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(run: str) -> bytes:
    return Path(run, "model", "model.safetensors").read_bytes()


def logged(run: str, key: str) -> dict[int, float]:
    """Step -> value in metrics.jsonl."""
    lines = map(json.loads, Path(run, "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line[key] for line in lines if key in line}


def tensorboard(run: str) -> dict[str, dict[int, float]]:
    """Tag -> step -> value, as TensorBoard reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(Path(run, "tracking", "tensorboard")))
    events.Reload()
    scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    assert all(len({event.step for event in found}) == len(found) for found in scalars.values()), (
        "each step is there once"
    )
    return {tag: {event.step: event.value for event in found} for tag, found in scalars.items()}


def test_tensorboard_has_the_metrics_at_their_steps_and_the_weights_are_the_same(here: Path) -> None:
    llmkit.finetune("own.yaml", run="runs/tracked", overrides=["tracking=tensorboard"])
    assert weights("runs/tracked") == weights("runs/plain")
    found = tensorboard("runs/tracked")
    for key in ("train/loss", "train/learning_rate", "evaluation/loss", "evaluation/accuracy"):
        assert found[key] == pytest.approx(logged("runs/tracked", key), rel=1e-6)
    assert sorted(found["train/tokens_per_second"]) == [1, 2, 3, 4]
    assert sorted(found["evaluation/accuracy"]) == [2, 4]
    (config,) = (here / "runs/tracked/tracking").rglob("hparams.yml")
    assert "train.batch_size: 8" in config.read_text()


def test_a_resumed_run_goes_on_in_the_same_log_without_the_steps_that_were_taken_again(here: Path) -> None:
    def killed(event: Any) -> None:
        if isinstance(event, StepResult) and event.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        llmkit.finetune("own.yaml", run="runs/tracked", overrides=["tracking=tensorboard"], report=killed)
    assert sorted(tensorboard("runs/tracked")["train/loss"]) == [1, 2, 3]
    llmkit.finetune(resume="runs/tracked")
    assert weights("runs/tracked") == weights("runs/plain")
    assert tensorboard("runs/tracked")["train/loss"] == pytest.approx(logged("runs/tracked", "train/loss"), rel=1e-6)


def test_a_tracker_that_fails_is_a_warning_and_the_training_goes_on(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def with_a_file_in_the_way(event: Any) -> None:
        if isinstance(event, StepResult) and event.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        llmkit.finetune("own.yaml", run="runs/tracked", report=with_a_file_in_the_way)
    (here / "runs/tracked/tracking").write_text("a file, where a folder should be")
    llmkit.finetune("runs/tracked/recipe.yaml", resume="runs/tracked", overrides=["tracking=tensorboard"])
    assert "tensorboard is left out" in caplog.text
    assert weights("runs/tracked") == weights("runs/plain")


def test_a_missing_package_is_an_error_before_anything_is_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not installed
    (here / "own.jsonl").unlink()
    with pytest.raises(MachineError, match=r"pip install 'llmkit\[mlflow\]'"):
        llmkit.finetune("own.yaml", run="runs/tracked", overrides=["tracking=[tensorboard, mlflow]"])
    assert not (here / "runs/tracked").exists()


@pytest.mark.parametrize("value", ["comet", "[]", "[wandb, wandb]", "true"])
def test_other_values_are_errors_of_the_recipe(value: str, here: Path) -> None:
    with pytest.raises(RecipeError, match="tracking"):
        llmkit.finetune("own.yaml", overrides=[f"tracking={value}"])


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of a file of W&B: after seven bytes, each with a checksum, its length and its type; blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        parts += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


@pytest.mark.slow
def test_wandb_writes_its_files_into_the_run_without_a_login(here: Path, tmp_path: Path) -> None:
    outcome = llmkit_process(
        "finetune", "own.yaml", "--run", "runs/tracked", "--set", "tracking=wandb",
        cwd=here, env={"HOME": str(tmp_path), "WANDB_ERROR_REPORTING": "false"},
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("runs/tracked")
    assert len(outcome.out.splitlines()) == 1
    assert weights("runs/tracked") == weights("runs/plain")
    (file,) = (here / "runs/tracked/tracking").rglob("*.wandb")
    records = list(wandb_records(file))
    histories = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    losses = {line["_step"]: line["train/loss"] for line in histories if "train/loss" in line}
    assert losses == logged("runs/tracked", "train/loss")
    assert json.loads(Path("runs/tracked/run.json").read_text())["id"] in file.name


@pytest.mark.slow
def test_mlflow_has_a_store_in_the_run_and_a_resumed_run_goes_on_in_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    llmkit.finetune("own.yaml", run="runs/tracked", overrides=["tracking=mlflow"])
    assert weights("runs/tracked") == weights("runs/plain")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    llmkit.finetune(resume="runs/tracked", overrides=["train.steps=6"])
    from mlflow import MlflowClient

    client = MlflowClient((here / "runs/tracked/tracking/mlflow").as_uri())
    (experiment,) = client.search_experiments(filter_string="name = 'llmkit'")
    (tracked,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(tracked.info.run_id, "train/loss")
    assert {point.step: point.value for point in history} == logged("runs/tracked", "train/loss")
    assert tracked.data.params["train.batch_size"] == "8"
    assert tracked.info.run_name == "tracked"


@pytest.mark.slow
def test_a_tracker_that_fails_on_the_way_is_left_out(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    def delete_the_store(event: Any) -> None:
        if isinstance(event, StepResult) and event.step == 2:
            shutil.rmtree("runs/tracked/tracking/mlflow")

    llmkit.finetune(
        "own.yaml", run="runs/tracked", overrides=["tracking=[mlflow, tensorboard]"], report=delete_the_store
    )
    assert "mlflow is left out" in caplog.text
    assert weights("runs/tracked") == weights("runs/plain")
    assert sorted(tensorboard("runs/tracked")["train/loss"]) == [1, 2, 3, 4]


@pytest.mark.slow
def test_trackio_has_the_metrics_at_their_steps(here: Path) -> None:
    folder = here / "trackio"
    outcome = llmkit_process(
        "finetune", "own.yaml", "--run", "runs/tracked", "--set", "tracking=trackio",
        cwd=here, env={"TRACKIO_DIR": str(folder)},
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) == 1
    assert weights("runs/tracked") == weights("runs/plain")
    assert "left out" not in outcome.err
    import sqlite3

    with sqlite3.connect(folder / "llmkit.db") as database:
        lines = [(step, json.loads(values)) for step, values in database.execute("select step, metrics from metrics")]
    assert {step: values["train/loss"] for step, values in lines if "train/loss" in values} == logged(
        "runs/tracked", "train/loss"
    )

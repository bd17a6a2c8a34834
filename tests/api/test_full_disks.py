"""A training on a disk without room: before its first step, in its metrics, in its records."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest
from builders import full_disk
from facts import facts, logged
from tiny_recipes import command, environment

import llmkit
from llmkit.api import Saved
from llmkit.errors import DivergedError, MachineError
from llmkit.runs.folder import Run

Usage = namedtuple("Usage", "total used free")


def disk_with(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free, 0, free))


def size_of_a_checkpoint(run: Path) -> int:
    newest = max((run / "checkpoints").iterdir())
    return sum((newest / name).stat().st_size for name in ("model.safetensors", "optimizer.safetensors"))


def test_a_run_starts_only_where_two_checkpoints_have_room(
    trained: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = size_of_a_checkpoint(trained / "runs" / "write-001")
    disk_with(int(1.9 * size), monkeypatch)
    needed, free = f"{2 * size / 2**20:,.0f} MiB", f"{1.9 * size / 2**20:,.0f} MiB"
    with pytest.raises(MachineError, match=facts("new:", needed, free)) as caught:
        llmkit.finetune("write.yaml", run="new")
    assert caught.value.exit_code == 5
    assert not (work / "new").exists()
    disk_with(int(2.1 * size), monkeypatch)
    llmkit.finetune("write.yaml", run="new")


@pytest.mark.parametrize("keys", [["train.lora.rank=2"], ["train.freeze={embeddings: true, layers: 1}"]])
def test_adapters_and_frozen_weights_need_less_room(
    keys: list[str], trained: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_with(int(1.9 * size_of_a_checkpoint(trained / "runs" / "summarize-001")), monkeypatch)
    steps = ["train.steps=1", "train.warmup=0"]
    with pytest.raises(MachineError, match=facts("whole:", "MiB")):
        llmkit.finetune("summarize.yaml", overrides=steps, run="whole")
    llmkit.finetune("summarize.yaml", overrides=[*steps, *keys], run="part")


def test_a_resume_needs_room_too_unless_all_steps_are_done(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        llmkit.finetune("write.yaml", run="part", report=interrupt_at(3))
    disk_with(2**20, monkeypatch)
    with pytest.raises(MachineError, match=facts("part:", "1 MiB")):
        llmkit.finetune(resume="part")
    monkeypatch.undo()
    monkeypatch.chdir(work)
    with pytest.raises(KeyboardInterrupt):
        llmkit.finetune(resume="part", report=interrupt_at(6))
    disk_with(2**20, monkeypatch)
    llmkit.finetune(resume="part")
    assert Run(Path("part")).manifest()["status"] == "finished"


def interrupt_at(step: int) -> object:
    def report(event: object) -> None:
        if isinstance(event, Saved) and event.step == step:
            raise KeyboardInterrupt

    return report


def test_metrics_are_durable_with_each_checkpoint(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    saved: list[int] = []
    llmkit.finetune("write.yaml", run="new", report=lambda event: saved.append(1) if isinstance(event, Saved) else None)
    assert [path.name for path in synced].count("metrics.jsonl") == len(saved) == 2


def test_metrics_that_cannot_be_written_are_an_error_with_the_place(work: Path) -> None:
    def fill(event: object) -> None:
        if type(event).__name__ == "StepResult":
            path = work / "new" / "metrics.jsonl"
            path.unlink()
            path.symlink_to("/dev/full")

    with pytest.raises(MachineError, match=facts("new/metrics.jsonl:", "the disk is full", "MiB free")) as caught:
        llmkit.finetune("write.yaml", run="new", report=fill)
    assert caught.value.exit_code == 5
    assert Run(Path("new")).manifest()["status"] == "failed"


def test_metrics_that_cannot_be_synced_are_an_error_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.log(1, {"train/loss": 1.0})

    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(MachineError, match=facts("metrics.jsonl:", os.strerror(errno.EIO))):
        run.sync_metrics()


def test_a_run_json_that_cannot_be_written_does_not_hide_why_the_training_failed(
    work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: object) -> None:
        if type(event).__name__ == "StepResult":
            stack.__enter__()
            raise DivergedError("the reason")

    stack = full_disk(file_bytes=10)
    try:
        with pytest.raises(DivergedError, match="the reason"):
            llmkit.finetune("write.yaml", run="new", report=fail)
    finally:
        stack.__exit__(None, None, None)
    assert len(logged(caplog, "WARNING", "new/run.json:")) == 1


@pytest.mark.slow
def test_a_standard_error_on_a_full_disk_ends_no_training(work: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            command("finetune", "write.yaml", "--run", "new", "--set", "train.steps=2"),
            stderr=full, stdout=subprocess.PIPE, env=environment(), check=False,
        )  # fmt: skip
    assert process.returncode == 0
    assert json.loads((work / "new" / "run.json").read_text())["status"] == "finished"


def test_an_error_that_cannot_be_printed_keeps_its_exit_code() -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(command("finetune", "no.yaml"), stderr=full, env=environment(), check=False)
    assert process.returncode == 2

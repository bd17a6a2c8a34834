"""A run for which memory did not suffice: what it records, and what its resume starts with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from narrow_memory import narrow

import llmkit
from llmkit.runs.folder import Run


def test_a_run_records_the_size_that_fits_and_its_resume_starts_with_it(work: Path) -> None:
    def report(event: Any) -> None:
        if type(event).__name__ == "Begun":
            failures.append(narrow(event.prepared.task, rows=3))
        if type(event).__name__ == "Saved" and event.step == 3:
            raise KeyboardInterrupt

    failures: list[list[int]] = []
    with pytest.raises(KeyboardInterrupt):
        llmkit.finetune("write.yaml", run="run", report=report)
    assert failures[0]
    size = Run(Path("run")).manifest()["micro_batch_tokens"]
    assert 32 <= size < 4 * 32
    llmkit.finetune(resume="run", report=lambda event: report(event) if type(event).__name__ == "Begun" else None)
    assert failures[1] == []
    manifest = Run(Path("run")).manifest()
    assert (manifest["status"], manifest["micro_batch_tokens"]) == ("finished", size)


def test_another_size_in_the_recipe_replaces_the_recorded_one(work: Path) -> None:
    def interrupt(event: Any) -> None:
        if type(event).__name__ == "Saved" and event.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        llmkit.finetune("write.yaml", run="run", report=interrupt)
    run = Run(Path("run"))
    run.update(micro_batch_tokens=40)
    llmkit.finetune(resume="run", overrides=["train.micro_batch_tokens=64"])
    assert run.manifest()["micro_batch_tokens"] is None

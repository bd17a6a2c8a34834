"""Trained models that the end-to-end tests share: made once in each test process, used by many, changed by none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tiny_recipes import llmkit, rows, write_jsonl, write_work

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test reaches for the network


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, recipes and a finished run of each: runs/classify-001, write-001, instruct-001, summarize-001."""
    folder = tmp_path_factory.mktemp("trained")
    write_work(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for recipe in ("classify.yaml", "write.yaml", "instruct.yaml", "summarize.yaml"):
            outcome = llmkit("finetune", recipe)
            assert outcome.code == 0, outcome.err
    return folder


def train_own(folder: Path, recipe: str, *, run: str) -> None:
    """Write rows and a recipe, own.jsonl and own.yaml, into a folder, and train there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_jsonl(folder / "own.jsonl", rows(40))
        (folder / "own.yaml").write_text(recipe)
        outcome = llmkit("finetune", "own.yaml", "--run", run)
        assert outcome.code == 0, outcome.err


@pytest.fixture
def here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `trained`, as the current one; for tests that only read."""
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def work(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with rows and recipes, as the current one."""
    for name in ("rows.jsonl", "classify.yaml", "write.yaml", "instruct.yaml", "summarize.yaml"):
        shutil.copy(trained / name, tmp_path / name)
    shutil.copytree(trained / "tiny-t5", tmp_path / "tiny-t5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own_runs(trained: Path, work: Path) -> Path:
    """As `work`, with copies of the finished runs, to be changed."""
    shutil.copytree(trained / "runs", work / "runs")
    return work

"""A run has its name only when it is whole, and is locked from then on."""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path

import pytest
from empty_runs import create_run
from facts import facts
from killed_at import Counter

from llmkit.atomic import replace_file
from llmkit.errors import MachineError, RunError
from llmkit.runs.creation import new_run
from llmkit.runs.folder import Run, open_run
from llmkit.runs.lock import is_locked


def test_a_run_has_no_name_until_it_is_described(tmp_path: Path) -> None:
    names: list[list[str]] = []

    def describe(draft: Run) -> None:
        names.append([path.name for path in tmp_path.iterdir() if not path.name.startswith(".")])
        (draft.folder / "recipe.yaml").write_text("recipe: 1")

    with new_run(None, recipe_name="news", describe=describe, root=tmp_path) as run:
        assert names == [[]]
        assert (tmp_path / "news-001" / "recipe.yaml").read_text() == "recipe: 1"
        assert run.folder == tmp_path / "news-001"
        assert is_locked(run.folder)
    assert not is_locked(run.folder)
    assert [path.name for path in tmp_path.iterdir()] == ["news-001"]


def test_a_description_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def describe(draft: Run) -> None:
        raise MachineError("the disk is full")

    with (
        pytest.raises(MachineError),
        new_run(tmp_path / "a" / "run", recipe_name="news", describe=describe),
    ):
        pass
    assert list((tmp_path / "a").iterdir()) == []


def test_a_link_to_an_empty_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "run").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "run")
    run = create_run(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "run" / "run.json").is_file()
    assert run.folder == tmp_path / "link"


def test_a_name_taken_while_the_run_is_described_is_refused(tmp_path: Path) -> None:
    def describe(draft: Run) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "notes.txt").write_text("mine")

    with (
        pytest.raises(RunError, match=facts("run", "another process")),
        new_run(tmp_path / "run", recipe_name="news", describe=describe),
    ):
        pass
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_what_a_killed_process_left_is_removed_when_it_is_old_and_nobody_has_it(tmp_path: Path) -> None:
    old, new = tmp_path / ".tmp-run-old", tmp_path / ".tmp-run-new"
    long_ago = time.time() - 7200
    for folder in (old, new):
        (folder / "checkpoints").mkdir(parents=True)
    os.utime(old, (long_ago, long_ago))

    def describe(draft: Run) -> None:
        """Another process starts when this one is at work for two hours."""
        os.utime(draft.folder, (long_ago, long_ago))
        create_run(tmp_path / "other")
        assert draft.folder.exists()

    with new_run(None, recipe_name="news", describe=describe, root=tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-run-new", "news-001", "other"]


def test_a_kill_at_any_call_leaves_no_run_or_a_whole_one(tmp_path: Path) -> None:
    """Of 273 kills, 25 left a folder that could neither be started nor resumed."""
    whole = {"checkpoints", "lock", "recipe.yaml", "env.json", "run.json"}

    def describe(draft: Run) -> None:
        for name in ("recipe.yaml", "env.json"):
            replace_file(draft.folder / name, b"{}")
        draft.update(status="running", task="classification")

    outcomes = []
    for kill_at in count(1):
        root = tmp_path / f"{kill_at}"
        root.mkdir()
        process = os.fork()
        if process == 0:
            Counter(root, kill_at=kill_at).install()
            try:
                create_run(None, describe=describe, root=root)
            finally:
                os._exit(0)
        _, status = os.waitpid(process, 0)
        named = [path for path in root.iterdir() if not path.name.startswith(".")]
        outcomes.append(bool(named))
        for path in named:
            assert {entry.name for entry in path.iterdir()} == whole
            assert open_run(path).manifest()["status"] == "running"
        if os.WIFEXITED(status):
            break
    assert len(outcomes) > 10
    assert outcomes == sorted(outcomes)
    assert (outcomes[0], outcomes[-1]) == (False, True)

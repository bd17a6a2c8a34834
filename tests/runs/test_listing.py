"""The runs of a folder, whatever state they are in."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from tiny_recipes import llmkit

from llmkit.errors import RunError
from llmkit.runs.listing import list_runs
from llmkit.runs.lock import locked

BEST = {"metric": "accuracy", "step": 20, "validation": {"loss": 0.5, "accuracy": 0.75}}


def run(root: Path, name: str, **keys: Any) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    manifest = {"format": 1, "id": name, "status": "finished", "task": "classification", "best": BEST, **keys}
    (folder / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_runs_are_listed_newest_first_and_those_without_a_date_last(tmp_path: Path) -> None:
    run(tmp_path, "b", started="2026-01-02T00:00:00+00:00")
    run(tmp_path, "a")
    run(tmp_path, "c", started="2026-03-02T00:00:00+00:00")
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").touch()
    found = list_runs(tmp_path)
    assert [summary.folder.name for summary in found] == ["c", "b", "a"]
    assert found[0].started == datetime(2026, 3, 2, tzinfo=timezone.utc)
    assert (found[0].metric, found[0].score, found[0].step) == ("accuracy", 0.75, 20)


@pytest.mark.parametrize(
    ("recorded", "is_training", "status"),
    [
        ("running", True, "running"),
        ("running", False, "stopped"),
        ("started", False, "stopped"),
        ("interrupted", False, "interrupted"),
        ("interrupted", True, "running"),
        ("failed", False, "failed"),
    ],
)
def test_a_run_is_running_only_while_a_process_trains_there(
    tmp_path: Path, recorded: str, is_training: bool, status: str
) -> None:
    folder = run(tmp_path, "a", status=recorded)
    if is_training:
        with locked(folder):
            [summary] = list_runs(tmp_path)
    else:
        [summary] = list_runs(tmp_path)
    assert summary.status == status


def test_a_damaged_run_hides_no_other_and_says_what_is_wrong(tmp_path: Path) -> None:
    run(tmp_path, "a")
    (run(tmp_path, "b") / "run.json").write_text('{"id": 3', encoding="utf-8")
    by_name = {summary.folder.name: summary for summary in list_runs(tmp_path, order="name")}
    assert (by_name["a"].status, by_name["b"].status) == ("finished", "damaged")
    assert "run.json" in str(by_name["b"].error)


def test_runs_are_filtered_and_sorted(tmp_path: Path) -> None:
    run(tmp_path, "a")
    run(tmp_path, "b", best={**BEST, "validation": {"accuracy": 0.9}})
    run(tmp_path, "c", task="causal-lm", status="failed", best=None, error="no disk")
    assert [summary.folder.name for summary in list_runs(tmp_path, order="score")] == ["b", "a", "c"]
    assert [summary.folder.name for summary in list_runs(tmp_path, task="causal-lm")] == ["c"]
    assert [summary.folder.name for summary in list_runs(tmp_path, status="finished")] == ["a", "b"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        list_runs(tmp_path / "nothing")
    assert "nothing" in str(caught.value)


def test_the_command_prints_a_line_a_run_or_json(tmp_path: Path) -> None:
    run(tmp_path, "a", started=datetime.now(timezone.utc).isoformat())
    run(tmp_path, "b\x1b[2J", status="failed", best=None, error="no\ndisk")
    outcome = llmkit("runs", tmp_path)
    assert outcome.code == 0
    assert "\x1b" not in outcome.out
    lines = outcome.out.splitlines()
    assert lines[1].split()[:5] == ["a", "finished", "classification", "accuracy", "0.7500"]
    assert len(lines) == 4  # with the error of the second run
    [first, second] = json.loads(llmkit("runs", tmp_path, "--json", "--sort", "name").out)["runs"]
    assert (first["status"], first["score"]) == ("finished", 0.75)
    assert (second["error"], second["started"]) == ("no\ndisk", None)
    assert llmkit("runs", tmp_path / "nothing").code == 4

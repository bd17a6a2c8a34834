from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from empty_runs import create_run
from facts import facts, logged

from llmkit.errors import LlmkitError, MachineError, RunError
from llmkit.runs.folder import Run, finished_runs, open_run, write_json
from llmkit.runs.lock import locked

# ---- names


def test_runs_are_numbered_behind_the_highest_number_there_is(tmp_path: Path) -> None:
    (tmp_path / "news-007").mkdir()
    (tmp_path / "news-old").mkdir()
    (tmp_path / "newsletter-050").mkdir()
    names = [create_run(None, recipe_name="news", root=tmp_path).folder.name for _ in range(2)]
    assert names == ["news-008", "news-009"]
    assert create_run(None, recipe_name="a+b", root=tmp_path).folder.name == "a+b-001"


def test_a_used_folder_is_refused_and_an_empty_one_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run = create_run(tmp_path / "empty", recipe_name="news")
    assert run.manifest()["status"] == "started"
    with pytest.raises(RunError, match=facts(f"{tmp_path / 'empty'} ", f"--resume {tmp_path / 'empty'}")):
        create_run(tmp_path / "empty", recipe_name="news")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match=facts(tmp_path / "documents", "exists")):
        create_run(tmp_path / "documents", recipe_name="news")
    (tmp_path / "a-file").write_text("")
    with pytest.raises(RunError, match=facts(tmp_path / "a-file", "exists")):
        create_run(tmp_path / "a-file", recipe_name="news")


def test_of_many_that_take_the_same_name_at_once_one_gets_it(tmp_path: Path) -> None:
    for attempt in range(30):
        start, won = threading.Barrier(6), []
        lost: list[LlmkitError] = []

        def take(folder: Path, start: threading.Barrier, won: list[Run], lost: list[LlmkitError]) -> None:
            start.wait()
            try:
                won.append(create_run(folder, recipe_name="news"))
            except RunError as error:
                lost.append(error)

        arguments = (tmp_path / f"run-{attempt}", start, won, lost)
        threads = [threading.Thread(target=take, args=arguments) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 5)


def test_of_many_that_take_a_number_at_once_each_gets_its_own(tmp_path: Path) -> None:
    taken: list[str] = []
    threads = [
        threading.Thread(target=lambda: taken.append(create_run(None, recipe_name="news", root=tmp_path).folder.name))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [f"news-{number:03d}" for number in range(1, 13)]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(MachineError, match=facts("a-file/news:", "created")):
        create_run(tmp_path / "a-file" / "news", recipe_name="news")


def test_a_typo_in_a_run_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    create_run(tmp_path / "news-001", recipe_name="news")
    with pytest.raises(RunError, match=facts("nwes-001", "run.json", "'news-001'")):
        open_run(tmp_path / "nwes-001")
    assert open_run(tmp_path / "news-001").folder == tmp_path / "news-001"


# ---- run.json


@pytest.mark.parametrize(
    ("content", "stated"),
    [
        ('{"format": 2, "llmkit": "9.1"}', ["llmkit 9.1", "format", 2, 1]),
        ('{"format": "two"}', ["format", "'two'"]),
        ("", ["damaged", "line 1 column 1"]),
        ("[1]", ["JSON", "object"]),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(content: str, stated: list[object], tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe_name="news")
    (run.folder / "run.json").write_text(content)
    with pytest.raises(RunError, match=facts("run.json", *stated)) as caught:
        open_run(run.folder)
    assert caught.value.exit_code == 4


DAMAGED_MANIFESTS: list[tuple[str, object]] = [
    ("id", None),
    ("id", 7),
    ("id", "missing"),
    ("status", "done"),
    ("status", "missing"),
    ("status", "finished"),
    ("task", 5),
    ("finished", 0),
    ("training_seconds", "long"),
    ("replanned", [1]),
    ("best", []),
    ("best", {"metric": "loss", "step": 3}),
    ("best", {"step": 3, "validation": {}}),
    ("best", {"metric": "loss", "step": "3", "validation": {"loss": 1.0}}),
    ("best", {"metric": "loss", "step": 3, "validation": {"loss": "low"}}),
]


@pytest.mark.parametrize(("key", "value"), DAMAGED_MANIFESTS)
def test_a_key_of_the_manifest_that_is_missing_or_of_another_type_is_named(
    tmp_path: Path, key: str, value: object
) -> None:
    run = create_run(tmp_path / "run")
    content = {**run.manifest(), key: value}
    if value == "missing":
        del content[key]
    write_json(run.folder / "run.json", content)
    with pytest.raises(RunError, match=facts("run.json", "best" if value == "finished" else key)) as caught:
        open_run(run.folder)
    assert caught.value.exit_code == 4


def test_a_deeply_nested_manifest_is_refused(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    (run.folder / "run.json").write_text("[" * 100_000)
    with pytest.raises(RunError, match=facts("run.json", "damaged")):
        open_run(run.folder)


def test_an_update_changes_its_keys_and_keeps_the_others(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe_name="news")
    before = run.manifest()
    run.update(status="running", note="naïve 狗")
    assert run.manifest() == {**before, "status": "running", "note": "naïve 狗"}


def test_one_damaged_run_does_not_hide_the_finished_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, finished in enumerate(("2026-01-01", "2026-03-01", "2026-02-01", None, None)):
        run = create_run(tmp_path / f"run-{number}", recipe_name="news")
        if finished:
            run.model.mkdir()
            run.update(finished=finished)
    (tmp_path / "run-4").joinpath("model").mkdir()
    (tmp_path / "run-4" / "run.json").write_text('{"format": 7}')
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        assert [run.folder.name for run in finished_runs(tmp_path)] == ["run-1", "run-2", "run-0"]
    assert len(logged(caplog, "WARNING", "run-4")) == 1
    assert finished_runs(tmp_path / "none") == []


# ---- metrics.jsonl


def test_rewinding_drops_what_lies_behind_the_step_and_a_torn_last_line(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe_name="news")
    assert run.metrics() == []
    for step in range(1, 6):
        run.log(step, {"train/loss": 1 / step})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "train/lo')
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4, 5]
    run.rewind(3)
    run.log(4, {"train/loss": 7})
    assert [(line["step"], line["train/loss"]) for line in run.metrics()] == [(1, 1), (2, 0.5), (3, 1 / 3), (4, 7)]
    run.rewind(0)
    assert run.metrics() == []


def test_every_line_is_json_of_the_standard(tmp_path: Path) -> None:
    """fp16 leaves out steps whose gradient is infinite; JSON has no word for it."""
    run = create_run(tmp_path / "run", recipe_name="news")
    run.log(1, {"train/gradient_norm": math.inf, "train/loss": math.nan, "train/targets": 3})

    def refused(word: str) -> None:
        raise AssertionError(word)

    line = json.loads((run.folder / "metrics.jsonl").read_text(), parse_constant=refused)
    assert line == {"step": 1, "train/gradient_norm": None, "train/loss": None, "train/targets": 3}


DAMAGED_LINES = b'{"step": 1}\n{"st\xffep": \n[1]\n{"step": true}\n' + b"[" * 100_000 + b'\n{"step": 3}\n'


def test_damaged_lines_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = create_run(tmp_path / "run")
    (run.folder / "metrics.jsonl").write_bytes(DAMAGED_LINES)
    with caplog.at_level(logging.WARNING, logger="llmkit"):
        assert run.metrics() == [{"step": 1}, {"step": 3}]
    assert len(logged(caplog, "WARNING", "metrics.jsonl", 4, "damaged")) == 1


def test_rewinding_keeps_a_damaged_file(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run")
    for number in (1, 2):
        (run.folder / "metrics.jsonl").write_bytes(DAMAGED_LINES)
        run.rewind(1)
        assert (run.folder / "metrics.jsonl").read_text() == '{"step": 1}\n'
        assert (run.folder / f"metrics.damaged-{number}.jsonl").read_bytes() == DAMAGED_LINES
    run.rewind(0)
    assert not (run.folder / "metrics.damaged-3.jsonl").exists()


# ---- the lock

HOLDER = """
import sys, time
from pathlib import Path
from llmkit.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_told_who_holds_it_until_that_one_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        wanted = facts(tmp_path, f"pid {holder.pid}", socket.gethostname(), time.strftime(" %Y-"))
        with pytest.raises(MachineError, match=wanted) as caught, locked(tmp_path):
            pass
        assert caught.value.exit_code == 5
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
    with locked(tmp_path):  # the file is still there, the lock is not
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_the_lock_is_freed_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path), pytest.raises(MachineError, match=facts(f"pid {os.getpid()}")), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_lock_of_unreadable_content_is_still_a_lock(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / "lock").write_text("{")
        with pytest.raises(MachineError, match=facts(tmp_path, "another process")), locked(tmp_path):
            pass


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(MachineError, match=facts("lock:", "Is a directory")), locked(tmp_path):
        pass


def test_a_manifest_with_an_infinite_figure_is_valid_json(tmp_path: Path) -> None:
    write_json(
        tmp_path / "run.json", {"best": {"validation": {"perplexity": float("inf"), "loss": [1.0, float("nan")]}}}
    )
    kept = json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)
    assert kept == {"best": {"validation": {"perplexity": None, "loss": [1.0, None]}}}

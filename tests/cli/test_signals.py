"""Signals in every phase of a training, sent to real processes: the exit code, and what can be resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_recipes import command, environment, llmkit, write_work

from llmkit.stopping import stopping_at_signals
from llmkit.training.signals import stop_signals

SIGNALLED_AT = Path(__file__).parents[1] / "signalled_at.py"
KEYS = ("--set", "train.steps=6", "--set", "evaluation.every=3 steps", "--set", "train.checks=false")
PHASES = {
    "importing": ("import", r"^torch$", 1),
    "reading": ("open", r"rows\.jsonl$", 1),
    "tokenizing": ("open", r"tokenizers/\.tmp-", 1),
    "starting": ("open", r"\.tmp-run-.*/\.tmp-", 3),
    "training": ("open", r"cut/metrics\.jsonl$", 2),
    "evaluating": ("open", r"cut/metrics\.jsonl$", 3),
    "saving": ("open", r"\.tmp-step-00000003.*/model\.safetensors$", 1),
    "saving the last": ("open", r"\.tmp-step-00000006.*/optimizer\.safetensors$", 1),
    "publishing": ("open", r"\.tmp-model.*/model\.safetensors$", 1),
}
"""Of each phase an event within it, and the how-manieth."""


def signalled(phase: str, name: str, *, times: int, folder: Path) -> subprocess.CompletedProcess[str]:
    event, pattern, match = PHASES[phase]
    arguments = [name, str(times), event, pattern, str(match), "0", "llmkit", "finetune", "classify.yaml", *KEYS]
    return subprocess.run(
        [sys.executable, str(SIGNALLED_AT), *arguments, "--run", "cut"],
        cwd=folder, env=environment({"LLMKIT_CACHE": str(folder / "cache")}), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def weights_of(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a training without a signal."""
    folder = tmp_path_factory.mktemp("whole")
    write_work(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        outcome = llmkit("finetune", "classify.yaml", *KEYS, "--run", "whole")
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture
def here(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the same rows and recipe, as the current one."""
    for name in ("rows.jsonl", "classify.yaml"):
        shutil.copy(whole / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "name", "times"),
    [
        ("importing", "SIGTERM", 1),
        ("importing", "SIGINT", 2),
        ("tokenizing", "SIGINT", 1),
        ("starting", "SIGTERM", 1),
        ("training", "SIGHUP", 1),
        ("training", "SIGINT", 2),
        ("evaluating", "SIGTERM", 1),
        ("saving", "SIGINT", 1),
        ("saving the last", "SIGTERM", 1),
        ("publishing", "SIGINT", 1),
    ],
)
def test_a_signal_leaves_no_run_or_one_that_ends_in_the_same_weights(
    phase: str, name: str, times: int, here: Path, whole: Path
) -> None:
    cut = signalled(phase, name, times=times, folder=here)
    assert (cut.returncode, cut.stdout) == (128 + signal.Signals[name], ""), cut.stderr
    assert "Traceback" not in cut.stderr
    run = here / "cut"
    if phase in ("importing", "reading", "tokenizing", "starting"):
        assert not run.exists()
        assert not list(here.glob(".tmp-*"))
        again = llmkit("finetune", "classify.yaml", *KEYS, "--run", "cut")
    else:
        if times == 1:
            assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
            steps = {"training": 2, "evaluating": 3, "saving": 3}.get(phase, 6)
            newest = max((run / "checkpoints").iterdir())
            assert newest.name == f"step-{steps:08d}"
            assert not list(run.rglob(".tmp-*"))
        again = llmkit("finetune", "--resume", "cut")
    assert again.code == 0, again.err
    assert weights_of(run) == weights_of(whole / "whole")


@pytest.mark.slow
def test_a_signal_to_one_of_two_processes_stops_both_after_the_same_step(here: Path) -> None:
    arguments = ("finetune", "classify.yaml", "--processes", "2", "--set", "train.checks=false", "--run")
    longer = ("--set", "train.steps=300", "--set", "evaluation.every=300 steps")
    cut = subprocess.Popen(
        command(*arguments, "cut", *longer),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = here / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 100
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 3) and time.monotonic() < deadline:
        time.sleep(0.01)
    children = Path(f"/proc/{cut.pid}/task/{cut.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGTERM)
    out, err = cut.communicate(timeout=100)
    assert (cut.returncode, out) == (143, ""), err
    assert "Traceback" not in err
    (saved,) = (here / "cut" / "checkpoints").iterdir()
    steps = len(metrics.read_text().splitlines())
    assert saved.name == f"step-{steps:08d}"
    assert steps < 300
    assert json.loads((here / "cut" / "run.json").read_text())["status"] == "interrupted"


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as received:
            signal.raise_signal(signal.SIGHUP)
            assert received() is None
            with stopping_at_signals([signal.SIGHUP]):
                signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_no_step_has_seen_stops_what_comes_next() -> None:
    with pytest.raises(KeyboardInterrupt), stop_signals():
        signal.raise_signal(signal.SIGINT)

"""Kill a training before chosen calls that change files, resume it, and compare what it leaves with an uninterrupted run.

    python tests/slow/kill_at_calls.py --kills 100 --seed 0

A small classifier is trained from random weights with a checkpoint every second step. Its writes, fsyncs, renames and
deletions are counted first; then it is killed before some of them, from the creation of the run to its end, as often as
`--kills` says. A run without a name is started again, one with a name is resumed. A third of the kills hit a run whose
checkpoints are all damaged, in `--resume --restart`, and some of them a finished run whose damaged model `--resume`
saves again. Exits with 1 if any differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import forked
from builders import rows
from killed_at import Counter
from kills import Case, left_files
from tiny_recipes import write_jsonl

from llmkit.atomic import verify_folder
from llmkit.errors import RunError

Scenario = Literal["start", "restart", "repair"]
SHARES: dict[Scenario, float] = {"start": 0.5, "restart": 0.35, "repair": 0.15}


def train(folder: Path, scenario: Scenario, *, kill_at: int) -> int:
    """Start, resume or restart the run in `folder`; returns the exit code."""
    run = folder / "runs" / "case-001"
    arguments = ("--resume", run) if run.is_dir() else ("case.yaml", "--run", run)
    if scenario == "restart" and not any(_is_whole(path) for path in run.glob("checkpoints/step-*")):
        arguments = (*arguments, "--restart")
    counter = Counter(folder / "runs", kill_at=kill_at)

    training = forked.start(
        folder,
        ("finetune", *arguments),
        before=counter.install,
        after=lambda: _write_count(folder, counter),
    )
    code = training.finish()
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(training.errors)
    return code


def _write_count(folder: Path, counter: Counter) -> None:
    (folder / "calls").write_text(f"{counter.calls}")


def _is_whole(checkpoint: Path) -> bool:
    try:
        verify_folder(checkpoint)
    except RunError:
        return False
    return True


def prepare(folder: Path, scenario: Scenario, whole: Path) -> Path:
    """A folder in which the command of the scenario can be given."""
    (folder / "runs").mkdir(parents=True)
    write_jsonl(folder / "rows.jsonl", [dict(row.fields) for row in rows()])
    (folder / "case.yaml").write_text(json.dumps(Case("classification", "scratch", 20).recipe()))
    run = folder / "runs" / "case-001"
    if scenario == "start":
        return folder
    shutil.copytree(whole, run)
    damaged = run.glob("checkpoints/*/model.safetensors") if scenario == "restart" else [run / "model/config.json"]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-1])
    if scenario == "restart":
        shutil.rmtree(run / "model")
        content = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**content, "status": "running", "best": None}))
    return folder


def killed(folder: Path, scenario: Scenario, whole: Path, *, kill_at: int) -> dict[str, bytes]:
    """The files of a run that was killed before call `kill_at`, and resumed."""
    prepare(folder, scenario, whole)
    if train(folder, scenario, kill_at=kill_at) == 0:
        raise RuntimeError(f"{scenario}: it ended before call {kill_at}")
    if train(folder, scenario, kill_at=0) != 0:
        raise RuntimeError(f"{scenario}: it was killed twice")
    files = left_files(folder / "runs" / "case-001")
    shutil.rmtree(folder)
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmkit-kills-") as temporary:
        folder = prepare(Path(temporary) / "whole", "start", Path())
        train(folder, "start", kill_at=0)
        whole = folder / "runs" / "case-001"
        expected = left_files(whole)
        differing = kills = 0
        with ProcessPoolExecutor(options.workers, mp_context=get_context("fork")) as pool:
            for scenario, share in SHARES.items():
                calls = _count_calls(Path(temporary) / f"{scenario}-calls", scenario, whole)
                count = min(calls, round(options.kills * share))
                chosen = random.Random(options.seed).sample(range(1, calls + 1), count)
                place = Path(temporary) / scenario
                jobs = {at: pool.submit(killed, place / f"{at}", scenario, whole, kill_at=at) for at in chosen}
                wrong = _report(scenario, jobs, expected)
                print(f"{scenario}: {count} kills at {calls} calls that change files, {wrong} differ", flush=True)
                kills, differing = kills + count, differing + wrong
    print(f"{kills} kills before calls that change files: {kills - differing} identical, {differing} not")
    sys.exit(bool(differing))


def _count_calls(folder: Path, scenario: Scenario, whole: Path) -> int:
    prepare(folder, scenario, whole)
    train(folder, scenario, kill_at=0)
    return int((folder / "calls").read_text())


def _report(scenario: Scenario, jobs: dict[int, Future[dict[str, bytes]]], expected: dict[str, bytes]) -> int:
    """Print the calls before which a kill left other files, and return their number."""
    differing = 0
    for kill_at, job in jobs.items():
        files = job.result()
        names = sorted(name for name in expected.keys() | files.keys() if expected.get(name) != files.get(name))
        if names:
            differing += 1
            print(f"{scenario}, call {kill_at} differs: {', '.join(names)}", flush=True)
    return differing


if __name__ == "__main__":
    main()

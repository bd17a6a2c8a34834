"""Kill a training before chosen calls that change files, resume it, and compare what it leaves with an uninterrupted run.

    python tests/slow/kill_at_calls.py --kills 100 --seed 0

A small classifier is trained from random weights with a checkpoint every second step. Its writes, fsyncs, renames and
deletions are counted first; then it is killed before some of them, from the birth of the run to its end, as often as
`--kills` says. A run without a name is started again, one with a name is resumed. Exits with 1 if any differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from builders import rows
from kills import STEPS, Case, left_files
from tiny_recipes import write_jsonl

_KILLER = Path(__file__).parents[1] / "killed_at.py"


def train(folder: Path, *, kill_at: int) -> int:
    """Start or resume the run in `folder`; returns the exit status."""
    run = folder / "runs" / "case-001"
    what = ("--resume", run) if run.is_dir() else ("case.yaml", "--run", run)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LLMKIT_CACHE": f"{folder / 'cache'}", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, _KILLER, f"{kill_at}", folder / "runs", "llmkit", "finetune", *what]
    process = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(process.stderr)
    return process.returncode


def prepare(folder: Path) -> Path:
    (folder / "runs").mkdir(parents=True)
    write_jsonl(folder / "rows.jsonl", [dict(row.fields) for row in rows()])
    (folder / "case.yaml").write_text(json.dumps(Case("classification", "scratch", 20).recipe()))
    return folder


def killed(folder: Path, *, kill_at: int) -> dict[str, bytes]:
    """The files of a run that was killed before call `kill_at`, and resumed."""
    prepare(folder)
    if train(folder, kill_at=kill_at) == 0:
        raise RuntimeError(f"it ended before call {kill_at}")
    if train(folder, kill_at=0) != 0:
        raise RuntimeError("it was killed twice")
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
        whole = prepare(Path(temporary) / "whole")
        train(whole, kill_at=0)
        expected = left_files(whole / "runs" / "case-001")
        calls = int((whole / "calls").read_text())
        chosen = random.Random(options.seed).sample(range(1, calls + 1), min(options.kills, calls))
        differing = []
        with ThreadPoolExecutor(options.workers) as pool:
            jobs = {kill_at: pool.submit(killed, Path(temporary) / f"{kill_at}", kill_at=kill_at) for kill_at in chosen}
            for kill_at, job in jobs.items():
                if (files := job.result()) != expected:
                    names = sorted(
                        name for name in expected.keys() | files.keys() if expected.get(name) != files.get(name)
                    )
                    differing.append(kill_at)
                    print(f"call {kill_at} differs: {', '.join(names)}", flush=True)
    print(
        f"{len(chosen)} kills at {calls} calls that change files ({STEPS} steps): "
        f"{len(chosen) - len(differing)} identical, {len(differing)} not"
    )
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()

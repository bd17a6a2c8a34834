"""Send signals to real trainings at random moments, resume them, and compare what they leave with an uninterrupted one.

    python tests/slow/signals.py --count 50 --seed 0

SIGTERM, SIGINT or SIGHUP, once or twice, at a random event of a random phase, or some milliseconds later: importing,
reading, tokenizing, starting the run, training, evaluating, saving, publishing, plotting. The exit code must be 128 plus
the signal's number (or 0, if the training had ended), without a traceback. Exits with 1 if any differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from builders import rows
from kills import Case, left_files
from tiny_recipes import write_jsonl

SIGNALLED_AT = Path(__file__).parents[1] / "signalled_at.py"
PHASES = {
    "importing": ("import", r"^(torch|transformers|tokenizers|accelerate|safetensors|llmkit)", 1500),
    "reading": ("open", r"rows\.jsonl$", 4),
    "tokenizing": ("open", r"tokenizers/", 3),
    "starting": ("open", r"\.tmp-run-", 8),
    "training": ("open", r"/metrics\.jsonl$", 40),
    "saving": ("open", r"\.tmp-step-", 60),
    "deleting": ("os.rename", r"step-", 12),
    "publishing": ("open", r"\.tmp-model", 5),
    "ending": ("open", r"/\.tmp-\w+$", 8),
}
"""Of each phase its events, and about how many there are."""


def prepare(folder: Path) -> Path:
    folder.mkdir(parents=True)
    write_jsonl(folder / "rows.jsonl", [dict(row.fields) for row in rows()])
    (folder / "case.yaml").write_text(json.dumps(Case("classification", "scratch", 20).recipe()))
    return folder


def finetune(folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Start or resume the run in `folder`."""
    what = ("--resume", "run") if (folder / "run").is_dir() else ("case.yaml", "--run", "run")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LLMKIT_CACHE": f"{folder / 'cache'}", "HF_HUB_OFFLINE": "1"}
    start = [sys.executable, str(SIGNALLED_AT), *before] if before else [sys.executable, "-m"]
    return subprocess.run(
        [*start, "llmkit", "finetune", *what], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def check(folder: Path, expected: dict[str, bytes], *, seed: str) -> str:
    """What was done and what was wrong with it, empty if nothing was."""
    rng = random.Random(seed)
    prepare(folder)
    phase, name = rng.choice(list(PHASES)), rng.choice(["SIGTERM", "SIGINT", "SIGHUP"])
    event, pattern, count = PHASES[phase]
    times, match, milliseconds = rng.choice("112"), f"{rng.randint(1, count)}", f"{rng.choice([0, 0, 1, 5, 20])}"
    cut = finetune(folder, name, times, event, pattern, match, milliseconds)
    faults = []
    if cut.returncode not in (0, 128 + signal.Signals[name]):
        faults.append(f"exit code {cut.returncode}")
    if "Traceback" in cut.stderr:
        faults.append(cut.stderr)
    if times == "1" and list(folder.glob(".tmp-*")):
        faults.append("a temporary folder is left")
    again = finetune(folder)
    if again.returncode:
        faults.append(f"then exit code {again.returncode}: {again.stderr}")
    elif left_files(folder / "run") != expected:
        faults.append("other weights or metrics")
    did = f"{phase} {match}: {name} x {times} after {milliseconds} ms, exit code {cut.returncode}"
    print(f"{did:<70} {'; '.join(faults) or 'ok'}", flush=True)
    return "; ".join(faults)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmkit-signals-") as temporary:
        whole = prepare(Path(temporary) / "whole")
        finetune(whole)
        expected = left_files(whole / "run")
        with ThreadPoolExecutor(options.workers) as pool:
            jobs = [
                pool.submit(check, Path(temporary) / f"{number}", expected, seed=f"{options.seed} {number}")
                for number in range(options.count)
            ]
            faulty = sum(bool(job.result()) for job in jobs)
    print(f"{options.count} trainings with signals: {options.count - faulty} as they should be, {faulty} not")
    sys.exit(bool(faulty))


if __name__ == "__main__":
    main()

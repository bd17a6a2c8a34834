"""Kill real trainings with SIGKILL, resume them, and compare what they leave with uninterrupted ones, byte by byte.

    python tests/slow/kills.py --kills 50 --seed 0

Each of the tasks is trained from random weights, from a model folder that transformers wrote, and with LoRA, with and
without accumulation. A run is killed twice: after a checkpoint drawn by the seed, and a random share of a second later,
so that kills also fall into the writing of checkpoints; one that comes too late is not counted. Prints a line a run and a tally; exits with 1 if any differs.
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
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from builders import FAMILY_OF, TaskName, rows
from published_models import RECIPE_KEYS, published_folder
from tiny_recipes import write_jsonl

STEPS, KILLS_A_RUN = 30, 2


@dataclass(frozen=True)
class Case:
    task: TaskName
    origin: str
    """`scratch`, `lstm`, `folder` or `lora`."""
    micro_batch_tokens: int

    @property
    def name(self) -> str:
        return f"{self.task}-{self.origin}-{self.micro_batch_tokens}"

    def recipe(self) -> dict[str, Any]:
        train: dict[str, Any] = {"steps": STEPS, "batch_size": 8, "save_every": 2, "checks": False, "seed": 5}
        train |= {"keep_checkpoints": 2, "micro_batch_tokens": self.micro_batch_tokens}
        if self.origin == "lora":
            train["lora"] = {"rank": 2}
        family = "lstm" if self.origin == "lstm" else FAMILY_OF[self.task]
        scratch = {"architecture": family, "size": "tiny", "tokenizer": {"vocab_size": 420}}
        return {
            "recipe": 1,
            "task": self.task,
            "model": scratch if self.origin in ("scratch", "lstm") else f"{family}-{self.task == 'masked-lm'}",
            "data": {"train": "rows.jsonl", "validation": "20%"},
            "train": train,
            "evaluation": {"every": "10 steps", "max_rows": 4},
            **RECIPE_KEYS[self.task],
        }


def cases() -> Iterator[Case]:
    """All of them, those with accumulation and those without taking turns."""
    sizes = cycle((20, 4096))
    for origin in ("scratch", "folder", "lora"):
        for task in RECIPE_KEYS:
            yield Case(task, origin, next(sizes))
        next(sizes)  # ten tasks: without this every task would keep its size
    yield Case("classification", "lstm", 20)


def check(case: Case, folder: Path, *, seed: int) -> tuple[list[str], int]:
    """Names of the files in which a killed run differs from an uninterrupted one, and how often it was killed."""
    rng = random.Random(f"{seed} {case.name}")
    recipe = folder / f"{case.name}.yaml"
    recipe.write_text(json.dumps(case.recipe()))  # JSON is YAML
    whole, killed = folder / "runs" / f"{case.name}-whole", folder / "runs" / f"{case.name}-killed"
    _finish(_start(folder, recipe.name, "--run", str(whole)))
    process = _start(folder, recipe.name, "--run", str(killed))
    kills = 0
    for step in sorted(rng.sample(range(2, STEPS - 4), KILLS_A_RUN)):
        kills += _kill_after(process, killed, step=step, seconds=rng.random() / 10)
        process = _start(folder, "--resume", str(killed))
    _finish(process)
    before, after = left_files(whole), left_files(killed)
    shutil.rmtree(whole)
    shutil.rmtree(killed)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)), kills


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LLMKIT_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "llmkit", "finetune", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors)


def _kill_after(process: subprocess.Popen[str], run: Path, *, step: int, seconds: float) -> bool:
    """Kill it `seconds` after its first checkpoint of `step` or later; false where it had ended by then."""
    checkpoints = run / "checkpoints"
    while process.poll() is None:
        names = [path.name for path in checkpoints.glob("step-*")] if checkpoints.is_dir() else []
        if any(int(name.removeprefix("step-")) >= step for name in names):
            time.sleep(seconds)
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(errors)
    return process.returncode == -signal.SIGKILL


def left_files(run: Path) -> dict[str, bytes]:
    """The finished model, the last checkpoint and the metrics, without what a clock says."""
    (last,) = [path for path in (run / "checkpoints").iterdir() if path.name == f"step-{STEPS:08d}"]
    files = {f"model/{path.name}": path for path in (run / "model").glob("*.safetensors")}
    files |= {f"checkpoint/{path.name}": path for path in last.iterdir() if path.name != "MANIFEST.json"}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    metrics = [{key: value for key, value in line.items() if "second" not in key and key != "time"} for line in lines]
    return {**{name: path.read_bytes() for name, path in files.items()}, "metrics": json.dumps(metrics).encode()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmkit-kills-") as temporary:
        folder = Path(temporary)
        write_jsonl(folder / "rows.jsonl", [dict(row.fields) for row in rows()])
        for family in ("bert", "gpt2", "t5"):
            published_folder(folder / f"{family}-False", family, dropout=0.1)
        published_folder(folder / "bert-True", "bert", head="masked-lm", dropout=0.1)
        chosen = list(islice(cycle(cases()), -(-options.kills // KILLS_A_RUN)))
        differing = kills = 0
        with ThreadPoolExecutor(options.workers) as pool:
            numbered = [
                pool.submit(check, case, _place(folder, number), seed=options.seed + number)
                for number, case in enumerate(chosen)
            ]
            for case, outcome in zip(chosen, numbered, strict=True):
                differs, own_kills = outcome.result()
                kills += own_kills
                differing += bool(differs)
                print(f"{case.name:<40} {'differs: ' + ', '.join(differs) if differs else 'identical'}", flush=True)
    print(f"{kills} kills in {len(chosen)} runs: {len(chosen) - differing} identical, {differing} not")
    sys.exit(differing > 0)


def _place(folder: Path, number: int) -> Path:
    """A folder of its own for each run, with links to what they share."""
    place = folder / f"case-{number}"
    place.mkdir()
    for name in ("rows.jsonl", "bert-False", "bert-True", "gpt2-False", "t5-False"):
        (place / name).symlink_to(folder / name)
    return place


if __name__ == "__main__":
    main()

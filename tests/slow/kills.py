"""Kill real trainings with SIGKILL, resume them, and compare what they leave with uninterrupted ones, byte by byte.

    python tests/slow/kills.py --kills 50 --seed 0

Each of the tasks is trained from random weights, from a model folder that transformers wrote, and with LoRA, with
dropout and early stopping; in turn with accumulation, or with two kills in one epoch. Some train in two processes, one
of which is killed: the other must end within 30 seconds, with exit code 5 and a message that names the killed one.

A run is killed three times, each a random share of a second after a checkpoint: at a random step, before an evaluation,
and at the end, while the model is published. A kill that comes too late is not counted. Prints a line per run and a
tally; exits with 1 if any differs.
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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

import forked
from builders import FAMILY_OF, TaskName, rows
from published_models import RECIPE_KEYS, WITHOUT_LORA, PublishedFamily, published_folder
from tiny_recipes import write_jsonl

STEPS, EVALUATED_EVERY, KILLS_A_RUN = 30, 10, 3
SECONDS_TO_END = 30
FOLDERS: tuple[PublishedFamily, ...] = ("bart", "bert", "electra", "gpt2", "t5")


@dataclass(frozen=True)
class Case:
    task: TaskName
    origin: str
    """`scratch`, `lstm`, `folder` or `lora`."""
    micro_batch_tokens: int
    processes: int = 1

    @property
    def name(self) -> str:
        several = f"-{self.processes}-processes" if self.processes > 1 else ""
        return f"{self.task}-{self.origin}-{self.micro_batch_tokens}{several}"

    def recipe(self) -> dict[str, Any]:
        train: dict[str, Any] = {"steps": STEPS, "save_every": 2, "checks": False, "seed": 5}
        train["batch_size"] = 8 if self.micro_batch_tokens < 100 else 2  # 5 steps an epoch, or 18
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
            "evaluation": {"every": f"{EVALUATED_EVERY} steps", "max_rows": 4, "patience": 1},
            **RECIPE_KEYS[self.task],
        }


def cases() -> Iterator[Case]:
    """All of them, those with accumulation and those without taking turns."""
    sizes = cycle((20, 4096))
    for origin in ("scratch", "folder", "lora"):
        for task in RECIPE_KEYS:
            if not (origin == "lora" and task in WITHOUT_LORA):
                yield Case(task, origin, next(sizes))
    yield Case("classification", "lstm", 20)
    yield Case("classification", "folder", 20, processes=2)
    yield Case("causal-lm", "scratch", 4096, processes=2)
    yield Case("summarization", "lora", 20, processes=2)


def check(case: Case, folder: Path, *, seed: int) -> tuple[list[str], int]:
    """Names of the files in which a killed run differs from an uninterrupted one, and how often it was killed."""
    rng = random.Random(f"{seed} {case.name}")
    recipe = folder / f"{case.name}.yaml"
    recipe.write_text(json.dumps(case.recipe()))  # JSON is YAML
    whole, killed = folder / "runs" / f"{case.name}-whole", folder / "runs" / f"{case.name}-killed"
    train = _Processes(folder, case.processes) if case.processes > 1 else _Process(folder)
    train.start(recipe.name, "--run", str(whole))
    train.finish()
    train.start(recipe.name, "--run", str(killed))
    kills = 0
    for step in _steps_to_kill_after(rng):
        _wait_for(train, killed, step=step)
        time.sleep(rng.random() / 20)
        kills += train.kill(rng)
        train.start("--resume", str(killed))
    train.finish()
    before, after = left_files(whole), left_files(killed)
    shutil.rmtree(whole)
    shutil.rmtree(killed)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)), kills


def _steps_to_kill_after(rng: random.Random) -> list[int]:
    """Checkpoints after which a run is killed; early stopping may end it before the last."""
    before_evaluation = EVALUATED_EVERY * rng.randint(1, STEPS // EVALUATED_EVERY - 1) - 2
    return sorted([rng.randrange(2, STEPS - 4), before_evaluation, STEPS])


def _wait_for(train: _Process | _Processes, run: Path, *, step: int) -> None:
    """Until the first checkpoint of `step` or later, or until the training ends."""
    checkpoints = run / "checkpoints"
    while train.is_alive():
        names = [path.name for path in checkpoints.glob("step-*")] if checkpoints.is_dir() else []
        if any(int(name.removeprefix("step-")) >= step for name in names):
            return
        time.sleep(0.002)


class _Process:
    """A training in one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *arguments: str) -> None:
        self.training = forked.start(self.folder, ("finetune", *arguments))

    def is_alive(self) -> bool:
        return self.training.process.is_alive()

    def finish(self) -> None:
        if self.training.finish():
            raise RuntimeError(self.training.errors)

    def kill(self, rng: random.Random) -> bool:
        """False if it had ended."""
        self.training.process.kill()
        code = self.training.finish()
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(self.training.errors)
        return code == -signal.SIGKILL


class _Processes:
    """A training in several processes, of which one is killed."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count

    def start(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "llmkit", "finetune", *arguments, "--processes", f"{self.count}"]
        environment = {**os.environ, "LLMKIT_CACHE": str(self.folder / "cache")}
        self.launcher = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def is_alive(self) -> bool:
        return self.launcher.poll() is None

    def finish(self) -> None:
        _, errors = self.launcher.communicate()
        if self.launcher.returncode:
            raise RuntimeError(errors)

    def kill(self, rng: random.Random) -> bool:
        """Kill one of them, and check how the others end. False if they had ended."""
        listed = Path(f"/proc/{self.launcher.pid}/task/{self.launcher.pid}/children")
        children = listed.read_text().split() if self.is_alive() else []
        rank = rng.randrange(self.count)
        if len(children) == self.count:
            os.kill(int(children[rank]), signal.SIGKILL)
        killed = time.monotonic()
        _, errors = self.launcher.communicate()
        if self.launcher.returncode == 0:
            return False
        seconds = time.monotonic() - killed
        expected = f"process {rank + 1} of {self.count} was killed by SIGKILL"
        if self.launcher.returncode != 5 or expected not in errors or seconds > SECONDS_TO_END:
            raise RuntimeError(f"exit code {self.launcher.returncode} after {seconds:.0f} s: {errors}")
        return True


def left_files(run: Path) -> dict[str, bytes]:
    """The finished model, the last checkpoint and the metrics, without what a clock says."""
    last = max(path for path in (run / "checkpoints").iterdir() if path.name.startswith("step-"))
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
        for family in FOLDERS:
            published_folder(folder / f"{family}-False", family, dropout=0.1)
        published_folder(folder / "bert-True", "bert", head="masked-lm", dropout=0.1)
        every = list(cases())
        if options.kills < KILLS_A_RUN * len(every):
            random.Random(options.seed).shuffle(every)
            every.sort(key=lambda case: case.processes == 1)  # those of several processes are always there
        endless = enumerate(cycle(every))
        runs = differing = kills = 0
        with ProcessPoolExecutor(options.workers, mp_context=get_context("fork")) as pool:
            while kills < options.kills:  # more runs for kills that came too late
                outcomes = [
                    (case, pool.submit(check, case, _place(folder, number), seed=options.seed + number))
                    for number, case in islice(endless, -(-(options.kills - kills) // KILLS_A_RUN))
                ]
                for case, outcome in outcomes:
                    differs, own_kills = outcome.result()
                    runs += 1
                    kills += own_kills
                    differing += bool(differs)
                    print(f"{case.name:<40} {f'differs: {differs}' if differs else 'identical'}", flush=True)
    print(f"{kills} kills in {runs} runs: {runs - differing} identical, {differing} not")
    sys.exit(differing > 0)


def _place(folder: Path, number: int) -> Path:
    """A folder of its own for each run, with links to what they share."""
    place = folder / f"case-{number}"
    place.mkdir()
    for name in ("rows.jsonl", "bert-True", *(f"{family}-False" for family in FOLDERS)):
        (place / name).symlink_to(folder / name)
    return place


if __name__ == "__main__":
    main()

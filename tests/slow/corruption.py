"""Damage the files of a run, one at a time, and use it: the damage must be noticed, or change nothing.

    python tests/slow/corruption.py --count 400 --seed 0

Each file of the newest checkpoint and of the run itself is cut, zeroed in part, flipped in one bit, removed, and gets a
neighbour; then the run is resumed. Each file of a finished run is damaged in the same way; then its model is used and
evaluated. A damage is noticed if an error (exit code 2 to 4) or a warning names the file. Without a message, results,
weights, optimizer and metrics must be those of the whole run. Prints each damage that is neither, and a tally; exits
with 1 if there is any.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["HF_HUB_OFFLINE"] = "1"

from damages import CHECKPOINT, RUN, Damage, damages_of, final_state, finished_run, stopped_run
from tiny_recipes import llmkit


@dataclass(frozen=True)
class Trial:
    verb: str
    """`resume`, `classify` or `evaluate`."""
    file: str
    """From the run's folder."""
    damage: Damage


def trials(whole: Path, *, count: int, seed: int) -> list[Trial]:
    """All kinds of damage of each file; then random bits, until there are `count`."""
    rng = random.Random(seed)
    targets = [("resume", file) for file in _files(whole / "stopped", CHECKPOINT)]
    targets += [("classify", file) for file in _files(whole / "finished", "model/")]
    targets += [("evaluate", file) for file in _files(whole / "finished", "model/", "evaluation/")]
    chosen = [
        Trial(verb, file, damage)
        for verb, file in targets
        for damage in damages_of((_folder_of(whole, verb) / file).read_bytes(), rng=rng)
    ]
    return [*chosen, *_random_bits(whole, targets, rng=rng, count=count - len(chosen))]


def _random_bits(whole: Path, targets: list[tuple[str, str]], *, rng: random.Random, count: int) -> Iterator[Trial]:
    for _ in range(count):
        verb, file = rng.choice(targets)
        size = (_folder_of(whole, verb) / file).stat().st_size
        if size:
            yield Trial(verb, file, Damage("a bit", position=rng.randrange(size), bit=rng.randrange(8)))


def _files(run: Path, *folders: str) -> list[str]:
    """The files of the run itself, and those in some of its folders."""
    paths = (str(path.relative_to(run)) for path in sorted(run.rglob("*")) if path.is_file())
    return [path for path in paths if "/" not in path or path.startswith(folders)]


def _folder_of(whole: Path, verb: str) -> Path:
    return whole / ("stopped" if verb == "resume" else "finished")


RIGHT = ("error", "warning", "no effect", "a number of the metrics")
COMMANDS = {
    "resume": ("finetune", "--resume", RUN),
    "classify": ("classify", "--model", RUN, "--json", "soup bread salt"),
    "evaluate": ("evaluate", "--model", RUN, "--json"),
}


def outcome_of(trial: Trial, whole: Path, expected: dict[str, object]) -> str:
    """One of `RIGHT`, or what is wrong. A changed digit in metrics.jsonl is a number like any other."""
    shutil.rmtree(RUN, ignore_errors=True)
    shutil.copytree(_folder_of(whole, trial.verb), RUN)
    trial.damage.apply(RUN / trial.file)
    outcome = llmkit(*COMMANDS[trial.verb])
    name = trial.damage.named(Path(trial.file))
    if outcome.code in (2, 3, 4):
        is_named = name in outcome.err or name == "recipe.yaml"  # of which a value may be named, as of any recipe
        return "error" if is_named else f"exit code {outcome.code} without the file: {outcome.err[-300:]}"
    if outcome.code != 0:
        return f"exit code {outcome.code}: {outcome.err[-300:]}"
    result: object = final_state(RUN) if trial.verb == "resume" else outcome.out
    warned = any("warning" in line and name in line for line in outcome.err.splitlines())
    if result == expected[trial.verb]:
        return "warning" if warned else "no effect"
    if _differs_only_in_metrics(result, expected[trial.verb]):
        return "warning" if warned else "a number of the metrics"
    return "another result"


def _differs_only_in_metrics(result: object, expected: object) -> bool:
    if not isinstance(result, dict) or not isinstance(expected, dict):
        return False
    return {key for key in expected if result.get(key) != expected[key]} == {"metrics"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="llmkit-damage-") as temporary:
        os.chdir(temporary)
        os.environ["LLMKIT_CACHE"] = str(Path(temporary) / "cache")
        whole = Path(temporary) / "whole"
        finished_run(whole / "finished")
        stopped_run(whole / "finished", whole / "stopped")
        expected: dict[str, object] = {"resume": final_state(whole / "finished")}
        shutil.copytree(whole / "finished", RUN)
        expected |= {verb: llmkit(*COMMANDS[verb]).out for verb in ("classify", "evaluate")}
        chosen = trials(whole, count=options.count, seed=options.seed)
        tally: Counter[str] = Counter()
        for trial in chosen:
            outcome = outcome_of(trial, whole, expected)
            is_right = outcome in RIGHT
            tally[outcome if is_right else "wrong"] += 1
            if not is_right:
                print(f"{trial.verb} {trial.file}: {trial.damage}: {outcome}", flush=True)
    counts = ", ".join(f"{tally[outcome]} {outcome}" for outcome in RIGHT)
    detected = tally["error"] + tally["warning"]
    print(f"{len(chosen)} damages, {detected} detected, {tally['wrong']} wrong ({counts})")
    sys.exit(tally["wrong"] > 0)


if __name__ == "__main__":
    main()

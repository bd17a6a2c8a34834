"""Trainings measured in turn, each in a process of its own, and their ratios."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence


def measured_in_turn(
    script: str, names: Sequence[str], *, folder: str, rounds: int
) -> dict[str, list[dict[str, float]]]:
    """What `python SCRIPT NAME FOLDER` prints as its last line, for each name in each round."""
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, results in measured.items():
            command = [sys.executable, script, name, folder]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results.append(json.loads(output.splitlines()[-1]))
    return measured


def print_ratios(
    ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]], *, targets: Mapping[str, str]
) -> None:
    """Medians of both sides, and the ratio of each round with its spread."""
    for what, target in targets.items():
        ratios = sorted(a[what] / b[what] for a, b in zip(ours, theirs, strict=True))
        for name, results in (("llmkit", ours), ("trainer", theirs)):
            print(f"{what:17} {name:8} {statistics.median(result[what] for result in results):10,.1f}")
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"{what:17} ratio    {statistics.median(ratios):10.2f}  ({spread}; target {target})", flush=True)


def result_of(steps: Sequence[float], before_mib: float, *, unit: str, each_step: float) -> dict[str, float]:
    """Speed over the steps behind the first, whose start-up is no matter of speed; and what training took on top.

    Args:
        steps: when each step ended, in seconds.
        each_step: how many units a step has.
    """
    seconds = steps[-1] - steps[0]
    return {f"{unit}_per_second": (len(steps) - 1) * each_step / seconds, "training_mib": peak_mib() - before_mib}


def peak_mib() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

"""How close `llmkit plan --measure` comes to what the run then takes: memory and time, one recipe of each kind of model.

    python benchmarks/plan_accuracy.py [NAME ...]

Plan and run are each a process of their own, one after the other, on the docstrings of the installed packages. Memory is
the peak of the process above what it had before the model: resident memory on a CPU, torch's allocator on CUDA. Time
is that of all steps, evaluations and saves. The load average stands beside each line: other programs change the time.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COMMON: dict[str, Any] = {
    "recipe": 1,
    "data": {"train": "builtin:python-docs", "columns": {"text": "docstring"}, "max_rows": 2000},
    "evaluation": {"max_rows": 50},
}
RECIPES: dict[str, dict[str, Any]] = {
    "bert": {"task": "classification", "model": ("bert", "mini"), "max_tokens": 96, "steps": 30, "batch": 16},
    "gpt2": {"task": "causal-lm", "model": ("gpt2", "mini"), "block_tokens": 128, "steps": 30, "batch": 16},
    "t5": {"task": "span-corruption", "model": ("t5", "tiny"), "block_tokens": 128, "steps": 30, "batch": 16},
    "llama": {"task": "causal-lm", "model": ("llama", "tiny"), "block_tokens": 128, "steps": 30, "batch": 16},
    "bart": {"task": "denoising", "model": ("bart", "tiny"), "block_tokens": 128, "steps": 30, "batch": 16},
    "lstm": {"task": "classification", "model": ("lstm", "small"), "max_tokens": 96, "steps": 30, "batch": 16},
}
TOLERANCE = 0.2


def main() -> None:
    arguments = sys.argv[1:]
    if arguments and arguments[0] in ("--plan", "--run"):
        side = plan_side if arguments[0] == "--plan" else run_side
        print(json.dumps(side(Path(arguments[1]))))
        return
    missed = False
    print(
        f"{'recipe':8} {'memory planned':>15} {'measured':>10} {'ratio':>6}  {'time planned':>13} {'taken':>8} {'ratio':>6}  load"
    )
    for name in arguments or RECIPES:
        missed |= not compare(name)
    raise SystemExit(int(missed))


def compare(name: str) -> bool:
    """Print one line; whether both numbers are within the tolerance."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(json.dumps(recipe_of(name)))
        planned, taken = (
            json.loads(
                subprocess.check_output(
                    [sys.executable, __file__, side, str(path)], cwd=folder, text=True
                ).splitlines()[-1]
            )
            for side in ("--plan", "--run")
        )
    memory, seconds = (planned[what] / taken[what] for what in ("mib", "seconds"))
    print(
        f"{name:8} {planned['mib']:11,.0f} MiB {taken['mib']:6,.0f} MiB {memory:6.2f}  {planned['seconds']:11,.1f} s "
        f"{taken['seconds']:6,.1f} s {seconds:6.2f}  {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return all(abs(ratio - 1) <= TOLERANCE for ratio in (memory, seconds))


def recipe_of(name: str) -> dict[str, Any]:
    keys = dict(RECIPES[name])
    architecture, size = keys.pop("model")
    train = {"steps": keys.pop("steps"), "batch_size": keys.pop("batch")}
    return {**COMMON, **keys, "model": {"architecture": architecture, "size": size}, "train": train}


def plan_side(recipe: Path) -> dict[str, float]:
    import llmkit

    plan = llmkit.plan(recipe, measure=True)
    assert plan.time is not None, plan.problems
    return {"mib": plan.memory_needed / 2**20, "seconds": plan.time.total_seconds}


def run_side(recipe: Path) -> dict[str, float]:
    import torch

    import llmkit
    from llmkit.training import prepare

    llmkit.finetune(warm_up_recipe(recipe))  # loads every library, so that they count as present before the model
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = 0
    load_task = prepare.load_task

    def load_and_note(*arguments: Any, **options: Any) -> Any:
        nonlocal before
        before = reset_peak()
        return load_task(*arguments, **options)

    prepare.load_task = load_and_note
    finished = llmkit.finetune(recipe)
    assert finished is not None, "the only process"
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else status("VmHWM") - before
    return {"mib": peak / 2**20, "seconds": finished.run.manifest()["training_seconds"]}


def warm_up_recipe(recipe: Path) -> Path:
    """The same on few rows, with the smallest model."""
    keys = json.loads(recipe.read_text())
    keys["model"]["size"], keys["data"]["max_rows"], keys["evaluation"]["max_rows"] = "tiny", 300, 2
    keys["train"] = {"steps": 3, "batch_size": 1}
    if "block_tokens" in keys:
        keys["block_tokens"] = 32
    path = recipe.with_name("warm-up.yaml")
    path.write_text(json.dumps(keys))
    return path


def reset_peak() -> int:
    """Start a new peak of resident memory; returns what is resident now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def status(key: str) -> int:
    """A size in /proc/self/status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()

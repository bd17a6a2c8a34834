"""How close `llmkit plan --measure` comes to what the run then takes: memory and time, one recipe of each kind of model.

    python benchmarks/plan_accuracy.py [--memory] [NAME ...]

The constants of the plan were fitted to the recipes in FITTED, and to none in HELD_OUT. With `--memory` no time is
measured, so other programs do not matter; these must be within 15 %.

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

DOCS = {"train": "builtin:python-docs", "columns": {"text": "docstring"}, "max_rows": 2000}
FITTED: dict[str, dict[str, Any]] = {
    "bert": {"task": "classification", "model": ("bert", "mini"), "max_tokens": 96},
    "gpt2": {"task": "causal-lm", "model": ("gpt2", "mini"), "block_tokens": 128},
    "t5": {"task": "span-corruption", "model": ("t5", "tiny"), "block_tokens": 128},
    "llama": {"task": "causal-lm", "model": ("llama", "tiny"), "block_tokens": 128},
    "bart": {"task": "denoising", "model": ("bart", "tiny"), "block_tokens": 128},
    "lstm": {"task": "classification", "model": ("lstm", "small"), "max_tokens": 96},
}
_BERT = {"task": "masked-lm", "model": ("bert", "mini"), "block_tokens": 32, "train": {"steps": 1}}
_T5 = {"task": "span-corruption", "model": ("t5", "mini"), "block_tokens": 32, "train": {"steps": 1}}
HELD_OUT: dict[str, dict[str, Any]] = {
    "words": {
        "task": "token-classification",
        "model": ("roberta", "mini"),
        "max_tokens": 64,
        "data": {"train": "builtin:python-docs-entities", "max_rows": 2000},
        "train": {"steps": 20, "batch_size": 8},
    },
    "modernbert": {
        "task": "masked-lm",
        "model": ("modernbert", "mini"),
        "block_tokens": 128,
        "train": {"batch_size": 32},
    },
    "electra": {"task": "replaced-token-detection", "model": ("electra", "mini"), "block_tokens": 64},
    "questions": {
        "task": "question-answering",
        "model": ("bert", "mini"),
        "max_tokens": 160,
        "data": {"train": "builtin:python-docs-questions", "max_rows": 1000},
    },
    "summaries": {
        "task": "summarization",
        "model": _T5,
        "max_source_tokens": 96,
        "max_target_tokens": 32,
        "data": {"train": "builtin:python-docs", "max_rows": 1000},
        "evaluation": {"max_rows": 10},
    },
    "lora": {"task": "classification", "model": _BERT, "max_tokens": 96, "train": {"lora": {"rank": 8}}},
    "recomputed": {
        "task": "causal-lm",
        "model": ("gpt2", "mini"),
        "block_tokens": 128,
        "train": {"gradient_checkpointing": True, "batch_size": 8},
    },
    "long": {"task": "classification", "model": ("distilbert", "mini"), "max_tokens": 512, "train": {"batch_size": 4}},
    "medium": {
        "task": "classification",
        "model": ("bert", "medium"),
        "max_tokens": 64,
        "train": {"steps": 4, "batch_size": 8},
    },
}
"""Other tasks, families, sizes, batches and lengths. A model that is itself a recipe is trained first, and read from its
folder."""
RECIPES = FITTED | HELD_OUT
TOLERANCE, MEMORY_TOLERANCE = 0.2, 0.15


def main() -> None:
    arguments = sys.argv[1:]
    sides = {"--model": model_side, "--plan": plan_side, "--plan-memory": plan_memory_side, "--run": run_side}
    if arguments and arguments[0] in sides:
        print(json.dumps(sides[arguments[0]](Path(arguments[1]))))
        return
    timed = "--memory" not in arguments
    names = [name for name in arguments if name != "--memory"] or list(RECIPES)
    time_title = f"  {'time planned':>13} {'taken':>8} {'ratio':>6}" if timed else ""
    print(f"{'recipe':10} {'':8} {'memory planned':>15} {'measured':>10} {'ratio':>6}{time_title}  load")
    missed = [name for name in names if not compare(name, timed=timed)]
    raise SystemExit(bool(missed))


def compare(name: str, *, timed: bool) -> bool:
    """Print one line; whether memory, and time if it is measured, are within the tolerance."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_recipe(name, Path(folder))
        side = "--plan" if timed else "--plan-memory"
        planned, taken = in_process(side, path), in_process("--run", path)
    memory, seconds = (planned[what] / taken[what] for what in ("mib", "seconds"))
    time = f"  {planned['seconds']:11,.1f} s {taken['seconds']:6,.1f} s {seconds:6.2f}" if timed else ""
    kind = "held out" if name in HELD_OUT else "fitted"
    print(
        f"{name:10} {kind:8} {planned['mib']:11,.0f} MiB {taken['mib']:6,.0f} MiB {memory:6.2f}{time}  {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return abs(memory - 1) <= MEMORY_TOLERANCE and (not timed or abs(seconds - 1) <= TOLERANCE)


def in_process(side: str, recipe: Path) -> Any:
    """What one side prints, in a process of its own."""
    command = [sys.executable, __file__, side, str(recipe)]
    return json.loads(subprocess.check_output(command, cwd=recipe.parent, text=True).splitlines()[-1])


def write_recipe(name: str, folder: Path) -> Path:
    """The recipe's file; the model that it starts from is trained beside it."""
    recipe = recipe_of(RECIPES[name])
    if "task" in recipe["model"]:
        base = folder / "base.yaml"
        base.write_text(json.dumps(recipe_of(recipe["model"])))
        recipe["model"] = in_process("--model", base)
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(recipe))
    return path


def recipe_of(keys: dict[str, Any]) -> dict[str, Any]:
    model, train = keys["model"], {"steps": 30, "batch_size": 16} | keys.get("train", {})
    if isinstance(model, tuple):
        model = dict(zip(("architecture", "size"), model, strict=True))
    return {"recipe": 1, "data": DOCS, "evaluation": {"max_rows": 50}, **keys, "model": model, "train": train}


def model_side(recipe: Path) -> str:
    """The folder of a trained model."""
    import llmkit

    finished = llmkit.finetune(recipe)
    assert finished is not None, "the only process"
    return str(finished.run.folder.absolute())


def plan_side(recipe: Path) -> dict[str, float]:
    import llmkit

    plan = llmkit.plan(recipe, measure=True)
    assert plan.time is not None, plan.problems
    return {"mib": plan.memory_needed / 2**20, "seconds": plan.time.total_seconds}


def plan_memory_side(recipe: Path) -> dict[str, float]:
    import llmkit

    return {"mib": llmkit.plan(recipe).memory_needed / 2**20, "seconds": 0.0}


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
    """The same on few rows, with the smallest model; one of a folder stays."""
    keys = json.loads(recipe.read_text())
    keys["data"]["max_rows"], keys["evaluation"]["max_rows"] = 300, 2
    keys["train"] |= {"steps": 3, "batch_size": 1}
    if not isinstance(keys["model"], str):
        keys["model"]["size"] = "tiny"
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

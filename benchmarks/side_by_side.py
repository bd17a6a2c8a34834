"""Measures training with llmkit and with the Trainer in turn, each in its own process, and their ratios."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


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


def compare(
    script: str,
    names: Sequence[str],
    sides: Mapping[str, Callable[[str, Path], dict[str, float]]],
    *,
    write_model: Callable[[str, Path], None],
    rounds: int,
    targets: Mapping[str, str],
) -> None:
    """The program of a benchmark: `[NAME ...]` compares both sides by each name, `SIDE:NAME FOLDER` runs one side.

    Args:
        names: everything that can be compared.
        sides: ours first; each takes a name and the folder of its model.
    """
    arguments = sys.argv[1:]
    if arguments and arguments[0].partition(":")[0] in sides:
        side, _, name = arguments[0].partition(":")
        print(json.dumps(sides[side](name, Path(arguments[1]))))
        return
    for name in arguments or names:
        with tempfile.TemporaryDirectory() as folder:
            write_model(name, Path(folder))
            runs = [f"{side}:{name}" for side in sides]
            measured = measured_in_turn(script, runs, folder=folder, rounds=rounds)
        print(f"\n{name}")
        ours, theirs = (measured[run] for run in runs)
        print_ratios(ours, theirs, targets=targets)


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


def train_with_llmkit(task: Any, examples: Any, *, unit: str, each_step: float) -> dict[str, float]:
    """Train as the task's recipe says.

    Args:
        each_step: number of units per step.
    """
    import numpy as np
    from accelerate import Accelerator

    from llmkit.evaluation.measure import Measured
    from llmkit.evaluation.row_losses import RowLosses
    from llmkit.tasks.base import Scores
    from llmkit.training.loop import Validation, fit
    from llmkit.training.progress import StepResult
    from llmkit.training.schedule import plan_training

    plan = plan_training(task.recipe, examples=len(examples), family=task.loaded.family, from_scratch=False)
    measured = Measured(Scores({"loss": 0.0}), [], RowLosses(np.zeros(0), np.zeros(0, dtype=np.int64)))
    before = peak_mib()
    steps = []  # the loop waits for the GPU at the end of each step
    for event in fit(
        task,
        examples=examples,
        plan=plan,
        train=task.recipe.train,
        accelerator=Accelerator(mixed_precision="bf16" if task.recipe.train.precision == "bf16" else "no"),
        validation=Validation(lambda: measured, best="loss", patience=None),
        store=None,
    ):
        if isinstance(event, StepResult):
            steps.append(time.perf_counter())
    return _result(steps, before, unit=unit, each_step=each_step)


def train_with_trainer(
    model: Any, data: Any, collator: Any, *, train: Any, unit: str, each_step: float, seq2seq: bool = False
) -> dict[str, float]:
    """Train with transformers' Trainer, with the steps or epochs, batches, format and rate of llmkit's `train`."""
    import torch
    from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer, TrainerCallback, TrainingArguments

    steps: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available() and state.global_step in (_warm_up_steps(), state.max_steps):
                torch.cuda.synchronize()
            steps.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as output:
        arguments = (Seq2SeqTrainingArguments if seq2seq else TrainingArguments)(
            output_dir=output,
            max_steps=train.steps or -1,
            num_train_epochs=train.epochs or 1,
            per_device_train_batch_size=train.batch_size,
            learning_rate=train.learning_rate,
            weight_decay=train.weight_decay,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            bf16=train.precision == "bf16",
            seed=train.seed,
        )
        side = {"train_dataset": data, "data_collator": collator, "callbacks": [Clock()]}
        trainer = (Seq2SeqTrainer if seq2seq else Trainer)(model=model, args=arguments, **side)
        before = peak_mib()
        trainer.train()
    return _result(steps, before, unit=unit, each_step=each_step)


def _result(steps: Sequence[float], before_mib: float, *, unit: str, each_step: float) -> dict[str, float]:
    """Speed without the steps that include start-up; and the memory that training added, or the peak of the GPU's."""
    import torch

    timed = steps[_warm_up_steps() - 1 :]
    rate = (len(timed) - 1) * each_step / (timed[-1] - timed[0])
    if torch.cuda.is_available():
        return {f"{unit}_per_second": rate, "gpu_mib": torch.cuda.max_memory_allocated() / 2**20}
    return {f"{unit}_per_second": rate, "training_mib": peak_mib() - before_mib}


def _warm_up_steps() -> int:
    import torch

    return 5 if torch.cuda.is_available() else 1


def peak_mib() -> float:
    """The peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

"""What a training writes into its run folder: its description before the first step, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from llmkit.atomic import replace_file
from llmkit.data.examples import Examples
from llmkit.evaluation.uncertainty.score_intervals import score_intervals
from llmkit.recipe.loading import dump_recipe
from llmkit.runs.environment import git_commit
from llmkit.runs.folder import Run, write_json
from llmkit.training.environment import training_environment
from llmkit.training.prepared import Prepared
from llmkit.training.progress import Evaluated, Event, MicroBatchesReduced, Saved, StepResult

if TYPE_CHECKING:
    from llmkit.evaluation.uncertainty.interval import Interval

_INTERVAL_KEYS = ("evaluation_low", "evaluation_high")


def describe_training(
    run: Run,
    prepared: Prepared,
    *,
    bad_rows: bytes | None,
    origins: Mapping[str, str],
    messages: Sequence[Mapping[str, str]],
) -> None:
    """Record what the training depends on, before its first step.

    Args:
        bad_rows: the rows that are left out, for bad_rows.jsonl.
        origins: key of the recipe that was written -> `file:line:column` or `--set`.
        messages: what was logged about the data and the model, each with its level.
    """
    accelerator = prepared.accelerator
    machine = training_environment(accelerator, prepared.precision)
    # Before the recipe: an interruption in between must not leave a longer recipe in a finished run.
    run.update(status="running", total_steps=prepared.plan.total_steps, **_replanned(run, prepared))
    replace_file(run.recipe, dump_recipe(prepared.recipe).encode())
    write_json(run.folder / "env.json", machine)
    write_json(run.folder / "data.json", prepared.data)
    if bad_rows is not None:
        replace_file(run.bad_rows, bad_rows)
    if prepared.checkpoint is None:  # later, the model's name is the checkpoint's
        run.update(model=prepared.task.loaded.name, model_revision=prepared.task.loaded.revision)
    if "targets" in prepared.data:
        run.update(targets=prepared.data["targets"])
    run.update(
        error=None,
        task=prepared.recipe.task,
        llmkit=machine["packages"]["llmkit"],
        git_commit=git_commit(),
        started=now(),
        seed=prepared.recipe.train.seed,
        parameters=prepared.parameters,
        trained_parameters=prepared.trained_parameters,
        checks="off" if prepared.checks is None else dict(prepared.checks),
        precision={"format": prepared.precision.format, "reason": prepared.precision.reason},
        device=str(accelerator.device),
        world_size=accelerator.num_processes,
        micro_batch_tokens=prepared.micro_batch_tokens,
        resumed_from=prepared.checkpoint.step if prepared.checkpoint else None,
        rows={"train": _counts(prepared.train), "validation": _counts(prepared.validation)},
        recipe_origins=dict(origins),
        messages=list(messages),
    )


def _counts(examples: Examples) -> dict[str, int]:
    """Rows, examples, and percentiles of the tokens of an example."""
    import numpy as np

    median, high, longest = np.percentile(examples.lengths, [50, 95, 100]).astype(int).tolist()
    return {"rows": examples.rows, "examples": len(examples), "median": median, "high": high, "longest": longest}


def _replanned(run: Run, prepared: Prepared) -> dict[str, Any]:
    """A new entry in the manifest's list of changes, if the number of steps changes now."""
    manifest = run.manifest()
    before, after = manifest.get("total_steps"), prepared.plan.total_steps
    if before in (None, after):
        return {}
    step = prepared.checkpoint.step if prepared.checkpoint else 0
    entry = {"from": before, "to": after, "at_step": step, "time": now()}
    return {"replanned": [*manifest.get("replanned", ()), entry]}


def record_event(run: Run, event: Event, *, validation: Examples) -> None:
    """Write a line of the run's metrics.jsonl, which is durable with each checkpoint; or a key of its run.json.

    Of the best evaluation so far, also the validation rows with their predictions.
    """
    if isinstance(event, StepResult):
        values: dict[str, Any] = {
            "train/loss": event.loss,
            "train/learning_rate": event.learning_rate,
            "train/gradient_norm": event.gradient_norm,
            "train/targets": event.targets,
            "train/tokens": event.tokens,
            "train/padding_share": event.padding_share,
            "train/seconds": event.elapsed_seconds,
        }
        run.log(event.step, values)
    elif isinstance(event, Evaluated):
        intervals = score_intervals(event.scores, clusters=validation.clusters) if event.is_best else {}
        scores = {f"evaluation/{name}": value for name, value in event.scores.values.items()}
        run.log(event.step, scores | _ends(intervals))
        if event.is_best:
            from llmkit.api.validation_rows import save_validation  # needs torch, which is loaded by now

            save_validation(run, event, examples=validation, intervals=intervals)
    elif isinstance(event, MicroBatchesReduced):
        run.update(micro_batch_tokens=event.micro_batch_tokens)
    elif isinstance(event, Saved):
        run.sync_metrics()


def _ends(intervals: Mapping[str, Interval | None]) -> dict[str, float]:
    """The ends of the scores' intervals, for the best checkpoint so far: it may become the model, even in a later process."""
    return {
        f"{key}/{name}": end
        for name, interval in intervals.items()
        if interval is not None
        for key, end in zip(_INTERVAL_KEYS, interval, strict=True)
    }


def logged_intervals(line: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The intervals of the scores in a line of metrics.jsonl that have one."""
    low_key, high_key = _INTERVAL_KEYS
    names = [key.removeprefix("evaluation/") for key in line if key.startswith("evaluation/")]
    ends = {name: (line.get(f"{low_key}/{name}"), line.get(f"{high_key}/{name}")) for name in names}
    return {name: (low, high) for name, (low, high) in ends.items() if low is not None and high is not None}


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")

"""Training progress on standard error: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from llmkit.cli.messages import print_line
from llmkit.cli.output import one_line, shown

if TYPE_CHECKING:
    from llmkit.api import Begun, Eta, Evaluated, Event, Finetuned, Plan, Prepared, StepResult

_SECONDS_BETWEEN_LINES = 5.0
_SMOOTHING = 0.9
"""Weight of the previous speed in the moving average that is shown."""


class TrainingDisplay:
    """A callback for training events."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._plan: Plan | None = None
        self._eta: Eta | None = None
        self._last_event = 0.0
        self._tokens_per_second = 0.0
        self._last_line = 0.0

    def __enter__(self) -> TrainingDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            with suppress(OSError):  # the terminal may be gone
                self._bar.stop()
            self._bar = None

    def __call__(self, event: Begun | Event) -> None:
        from llmkit.api import Begun, Eta, Evaluated, Saved, StepResult  # needs torch, which is loaded by now

        now = time.monotonic()
        since_last, self._last_event = now - self._last_event, now
        if isinstance(event, Begun):
            self._plan, self._eta = event.prepared.plan, Eta()
            self._begin(event)
            return
        assert self._eta is not None, "the first event is Begun"
        if isinstance(event, StepResult):
            self._eta = self._eta.after_step(since_last)
            self._step(event)
        elif isinstance(event, Evaluated):
            self._eta = self._eta.after_pause("evaluation", since_last)
            self._evaluated(event)
        elif isinstance(event, Saved):
            self._eta = self._eta.after_pause("save", since_last)

    def finish(self, finished: Finetuned) -> None:
        """Print the result to standard output and the next commands to standard error."""
        if finished.already_complete:
            self._say(f"{finished.run.folder} is already complete; nothing was changed")
        else:
            self._say(_work(finished.run.manifest()))
        interval = finished.intervals.get(finished.best)
        ends = "" if interval is None else f" [{interval.low:.4f}, {interval.high:.4f}]"
        score = f"{finished.best} {finished.scores[finished.best]:.4f}{ends} at step {finished.best_step}"
        print(shown(f"{finished.run.folder}  {score}"))
        self._say(f"next: {finished.use}")
        self._say(f"      llmkit evaluate --model {finished.run.folder}")

    def _begin(self, event: Begun) -> None:
        ready = event.prepared
        plan, train = ready.plan, ready.recipe.train
        lines = {
            "run": str(event.run.folder),
            "model": f"{ready.task.loaded.name}, {_parameters(ready)}",
            "data": f"{len(ready.train):,} training examples, {len(ready.validation):,} for validation",
            "training": f"{plan.total_steps:,} steps of {train.batch_size} examples, "
            f"{plan.steps_per_epoch:,} per epoch; learning rate {plan.peak_learning_rate:g}, "
            f"{train.schedule} after {plan.warmup_steps:,} warm-up steps",
            "precision": f"{ready.precision.format} on {ready.accelerator.device}: {ready.precision.reason}",
        }
        if ready.checks is None:
            lines["checks"] = "turned off by the recipe"
        else:
            lines["checks"] = f"passed before the first step: {', '.join(ready.checks)}"
        if ready.unigram is not None:
            lines["unigram"] = f"{ready.unigram:.4f}, the validation loss of predicting by token frequency alone"
        if ready.checkpoint is not None:
            lines["resumed"] = f"from step {ready.checkpoint.step:,}"
        for name, text in lines.items():
            self._say(f"{name:<10} {text}")
        if self._console.is_terminal:
            # On a narrow terminal the bar shrinks first, then the end of the line is cropped; it never wraps.
            position, summary = Column(no_wrap=True), Column(no_wrap=True, overflow="ellipsis")
            columns = (
                TextColumn("{task.description}", table_column=position),
                BarColumn(bar_width=None, table_column=Column(ratio=1)),
                TextColumn("{task.fields[summary]}", table_column=summary),
            )
            self._bar = Progress(*columns, console=self._console, transient=True, expand=True, redirect_stdout=False)
            self._bar.add_task("step 0", total=plan.total_steps, summary="")
            self._bar.start()

    def _step(self, step: StepResult) -> None:
        assert self._plan is not None, "the first event is Begun"
        assert self._eta is not None, "as the plan"
        total_steps = self._plan.total_steps
        speed = step.tokens / max(step.elapsed_seconds, 1e-9)
        weight = 0.0 if self._tokens_per_second == 0 else _SMOOTHING
        self._tokens_per_second = weight * self._tokens_per_second + (1 - weight) * speed
        position = f"step {step.step:,}/{total_steps:,}"
        seconds = self._eta.remaining_seconds(self._plan, step.step)
        remaining = "unknown" if seconds is None else clock(seconds)
        summary = (
            f"loss {step.loss:.4f}  lr {step.learning_rate:.1e}  {self._tokens_per_second:,.0f} tok/s  "
            f"pad {step.padding_share:.0%}  ETA {remaining}"
        )
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step.step, description=position, summary=summary)
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES or step.step == total_steps:
            self._last_line = time.monotonic()
            self._say(f"{position}  {summary}")

    def _evaluated(self, evaluated: Evaluated) -> None:
        scores = "  ".join(f"{name} {value:.4f}" for name, value in evaluated.scores.values.items())
        best = "  (best so far)" if evaluated.is_best else ""
        self._say(f"step {evaluated.step:,} validation  {scores}{best}")

    def _say(self, line: str) -> None:
        line = one_line(line)
        if self._bar is None:
            print_line(line)
            return
        with suppress(OSError):  # the terminal may be gone
            self._bar.console.print(line, markup=False)


def _parameters(ready: Prepared) -> str:
    """The number of parameters, and of trainable ones if they differ."""
    count, trained = ready.parameters, ready.trained_parameters
    text = f"{count / 1e6:,.1f} M parameters"
    return text if trained == count else f"{text}, {trained:,} of them trainable ({trained / count:.1%})"


def _work(manifest: Mapping[str, Any]) -> str:
    """Tokens, speed and FLOPs of a finished run."""
    text = f"trained on {manifest['tokens_seen']:,} tokens, {manifest['tokens_per_second']:,.0f} per second"
    text += f"; {manifest['model_flops']:.1e} FLOPs"
    share = manifest["model_flops_utilization"]
    return text if share is None else f"{text}, {share:.1%} of the device's peak"


def clock(seconds: float) -> str:
    """`1:02:03`, or `2:03` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

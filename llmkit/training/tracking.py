"""Live tracking of a training with TensorBoard, Weights & Biases, trackio and MLflow, through accelerate's trackers.

A tracker never changes or stops a training: an error of its own is a warning, and the tracker is left out from then on.
"""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import assert_never

from llmkit.errors import MachineError
from llmkit.recipe.blocks import TrackerName
from llmkit.runs.folder import Run
from llmkit.training.prepared import Prepared
from llmkit.training.progress import Evaluated, Event, StepResult

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

    from llmkit.recipe.recipe import Recipe

logger = logging.getLogger("llmkit")
_PROJECT = "llmkit"
"""Name of the project or experiment, unless the tool's own variable names another."""
_MLFLOW_RUN = "mlflow_run_id"
"""Key of run.json."""


def check_trackers(recipe: Recipe) -> None:
    """Check that the packages of the recipe's trackers are installed, without importing them.

    Raises:
        MachineError: one is missing; the message has the command that installs it.
    """
    for name in recipe.tracking or ():
        if importlib.util.find_spec(name) is None:
            raise MachineError(
                f"tracking: {name} is not installed. Install it with: pip install 'llmkit[{name}]', or remove it."
            )


@contextmanager
def tracking(run: Run, prepared: Prepared) -> Iterator[Callable[[Event], None]]:
    """Start the trackers of the recipe; yields what sends an event to them. For the first process only."""
    trackers: dict[TrackerName, GeneralTracker] = {}
    first_step = prepared.checkpoint.step if prepared.checkpoint is not None else 0
    config = flat_config(prepared.recipe)

    def guarded(name: TrackerName, use: Callable[[], None]) -> None:
        try:
            with redirect_stdout(io.StringIO()):  # standard output is for results
                use()
        except Exception as error:  # of any kind: the tools and their servers are not ours
            trackers.pop(name, None)
            logger.warning("tracking: %s is left out from now on, the training goes on: %s", name, _one_line(error))

    def start(name: TrackerName) -> None:
        tracker = _tracker(name, run, first_step=first_step)
        tracker.start()
        trackers[name] = tracker
        if not first_step:
            tracker.store_init_configuration(config)
        if name == "mlflow":
            run.update(**{_MLFLOW_RUN: tracker.tracker.info.run_id})
        logger.info("tracking: %s, %s", name, _place(name, run))

    def send(event: Event) -> None:
        values = values_of(event)
        for name, tracker in list(trackers.items()) if values else ():
            guarded(name, lambda tracker=tracker: tracker.log(values, step=event.step))  # type: ignore[misc]

    def finish() -> None:
        for name, tracker in list(trackers.items()):
            guarded(name, lambda name=name, tracker=tracker: _finish(name, tracker))  # type: ignore[misc]

    for name in (prepared.recipe.tracking or ()) if prepared.steps_left else ():
        guarded(name, lambda name=name: start(name))  # type: ignore[misc]
    try:
        yield send
    except Exception:
        finish()
        raise
    finish()


def values_of(event: Event) -> dict[str, float]:
    """What trackers log of an event, by the names of metrics.jsonl; values that are not finite are left out."""
    values: dict[str, float] = {}
    if isinstance(event, StepResult):
        values = {
            "train/loss": event.loss,
            "train/learning_rate": event.learning_rate,
            "train/gradient_norm": event.gradient_norm,
            "train/tokens_per_second": event.tokens / max(event.elapsed_seconds, 1e-9),
            "train/epoch": event.epoch,
        }
    elif isinstance(event, Evaluated):
        values = {f"evaluation/{name}": value for name, value in event.scores.values.items()}
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def flat_config(recipe: Recipe) -> dict[str, str | int | float | bool]:
    """The recipe with dotted keys, as trackers show it; lists are JSON, keys without a value are left out."""

    def leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, inner in value.items():
            if isinstance(inner, Mapping):
                yield from leaves(inner, f"{prefix}{key}.")
            elif inner is not None:
                yield f"{prefix}{key}", json.dumps(inner, ensure_ascii=False) if isinstance(inner, list) else inner

    return dict(leaves(recipe.model_dump(mode="json"), ""))


def _tracker(name: TrackerName, run: Run, *, first_step: int) -> GeneralTracker:
    """A tracker that is not started; of a resumed run, one that goes on with what it has, where the tool can."""
    from accelerate import tracking as trackers

    folder = run.folder / "tracking"
    match name:
        case "tensorboard":
            folder.mkdir(exist_ok=True)
            # Hides the steps after the checkpoint, which are taken again.
            again = {"purge_step": first_step + 1} if first_step else {}
            return trackers.TensorBoardTracker("tensorboard", folder, **again)
        case "wandb":
            folder.mkdir(exist_ok=True)
            return trackers.WandBTracker(os.environ.get("WANDB_PROJECT", _PROJECT), **_wandb_options(run, folder))
        case "trackio":
            options = {"name": run.folder.resolve().name, "resume": "allow", "embed": False}
            own = {"auto_log_gpu": False, "auto_log_cpu": False}  # only what is documented
            return trackers.TrackioTracker(os.environ.get("TRACKIO_PROJECT", _PROJECT), **options, **own)
        case "mlflow":
            _set_mlflow_store(folder)
            run_id = run.manifest().get(_MLFLOW_RUN)
            return trackers.MLflowTracker(_PROJECT, run_id=run_id, run_name=run.folder.resolve().name)
        case other:
            assert_never(other)


def _wandb_options(run: Run, folder: Path) -> dict[str, Any]:
    """Options of wandb.init. Its files are in the run's folder; without a login they stay there until `wandb sync`."""
    import wandb

    options: dict[str, Any] = {
        "id": run.manifest()["id"],
        "resume": "allow",
        "name": run.folder.resolve().name,
        "dir": str(folder),
        "settings": wandb.Settings(console="off", silent=True),
    }
    if "WANDB_MODE" not in os.environ and not wandb.login(prompt=False):  # it would ask in the middle of a start
        options["mode"] = "offline"
    return options


def _set_mlflow_store(folder: Path) -> None:
    """A store in the run's folder, unless MLFLOW_TRACKING_URI names another: a database if MLflow has what it needs."""
    import mlflow

    given = os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        mlflow.set_tracking_uri(given)
        return
    folder.mkdir(exist_ok=True)
    if importlib.util.find_spec("sqlalchemy") is not None and importlib.util.find_spec("alembic") is not None:
        mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    else:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # mlflow-skinny has no other local store
        mlflow.set_tracking_uri((folder / "mlflow").resolve().as_uri())
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # it has set this one too; the next run has a store of its own


def _finish(name: TrackerName, tracker: GeneralTracker) -> None:
    tracker.finish()
    if name == "trackio":
        import trackio

        trackio.finish()  # type: ignore[no-untyped-call,unused-ignore]  # accelerate's tracker leaves it to the end of the program, with a line on standard output


def _place(name: TrackerName, run: Run) -> str:
    """Where to look, for people."""
    folder = run.folder / "tracking"
    match name:
        case "tensorboard":
            return f"open it with: tensorboard --logdir {folder / 'tensorboard'}"
        case "wandb":
            return f"its files are in {folder / 'wandb'}"
        case "trackio":
            return "open it with: trackio show"
        case "mlflow":
            uri = os.environ.get("MLFLOW_TRACKING_URI")
            return f"at {uri}" if uri else f"its store is in {folder}"
        case other:
            assert_never(other)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())

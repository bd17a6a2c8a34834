"""The end of a training: its best checkpoint becomes the model of the run. Imports torch."""

from __future__ import annotations

from llmkit.api.cards import card_facts
from llmkit.api.plotting import draw_finished
from llmkit.api.run_records import logged_intervals, now
from llmkit.api.validation_rows import finish_validation
from llmkit.errors import RunError
from llmkit.models.export import model_files
from llmkit.models.loading import load_model
from llmkit.runs.card import model_card
from llmkit.runs.folder import Run, finite
from llmkit.training.checkpoints import Checkpoint, CheckpointStore, progress_of
from llmkit.training.prepared import Prepared


def publish(run: Run, store: CheckpointStore, prepared: Prepared) -> None:
    """Make the best checkpoint the finished model."""
    best_step, best_value = _best(store)
    name = f"evaluation/{prepared.best}"
    # Without its metrics, or with damaged ones, the checkpoint still has the score that selected it.
    saved = {"step": best_step, name: finite(best_value)}
    line = next((line for line in run.metrics() if saved.items() <= line.items()), {name: best_value})
    scores = {key.removeprefix("evaluation/"): value for key, value in line.items() if key.startswith("evaluation/")}
    files = _finished_files(_best_checkpoint(store, best_step), prepared)
    best = {"metric": prepared.best, "step": best_step, "validation": scores, "intervals": logged_intervals(line)}
    card = model_card(card_facts(run, files, best=best, recipe=prepared.recipe))
    run.publish_model({**files, "README.md": card.encode()}, step=best_step)
    run.update(status="finished", finished=now(), best=best)
    draw_finished(run)
    finish_validation(run, prepared, best_step=best_step)


def _best_checkpoint(store: CheckpointStore, step: int) -> Checkpoint:
    try:
        return store.at_step(step)
    except RunError as error:
        raise RunError(
            f"{error} It is the best checkpoint, so the run has no model. Restore it from a copy, or use the last one of "
            f"{store.folder} as a model."
        ) from error


def _finished_files(checkpoint: Checkpoint, prepared: Prepared) -> dict[str, bytes]:
    """The checkpoint's model; an adapter is merged into its base, unless the recipe saves adapters."""
    lora = prepared.recipe.train.lora
    if lora is None or lora.save == "adapter":
        return checkpoint.model_files()
    return model_files(load_model(str(checkpoint.folder), head=prepared.recipe.HEAD))


def _best(store: CheckpointStore) -> tuple[int, float]:
    """The best step and its score, recorded in the newest checkpoint; the last step is always evaluated and saved."""
    newest = store.newest()
    assert newest is not None, "the last step was just saved"
    progress = progress_of(newest)
    assert progress.best_step is not None, "the last step is evaluated before it is saved"
    assert progress.best_value is not None, "it has a value"
    return progress.best_step, progress.best_value

"""Checks of model, data and task before the first step: they find errors that would waste a whole training run.

The losses of three examples cost less than a step, the targets of the first epoch are read up to a limit, and saving
costs a third of a checkpoint in time, and less memory than AdamW will need. Nothing is changed: training takes the same
steps with and without them.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmkit.data.examples import Examples
from llmkit.data.order import batch_of_step, steps_per_epoch
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.adapters import merge_adapter
from llmkit.models.export import changing_files, tokenizer_files, unique_tensors
from llmkit.models.families import LABELLED_HEADS, SPAN_HEADS, VOCABULARY_HEADS
from llmkit.models.loaded import LoadedModel
from llmkit.models.loading import load_model
from llmkit.models.losses import IGNORED, label_smoothing
from llmkit.models.target_scale import in_target_units
from llmkit.recipe.blocks import TrainBlock
from llmkit.tasks.base import WRITING_HEADS, Batch, Task

_MOST_ELEMENTS = 2_000_000
"""Maximum number of elements to check, inputs and masks included."""
_ROUNDING = 1e-4
"""Relative tolerance; float32 sums of some thousand terms differ by about 1e-6, a wrong mask by 1e-2 or more."""
_OFF = "Set train.checks: false to train anyway."


@dataclass(frozen=True)
class Check:
    """A check that passed: a description of what was checked."""

    name: str
    result: str


def check_before_training(task: Task, examples: Examples, *, train: TrainBlock, device: torch.device) -> list[Check]:
    """Run all checks, and return a description of each.

    Raises:
        DataError, ModelError: the first check that fails, with the fault.
    """
    model = task.loaded.model
    model.to(device).eval()
    with torch.no_grad():  # not inference mode: tensors that a task caches are used in training too
        checks = [*_check_targets(task, examples, train=train), _check_padding(task, examples)]
        with in_target_units(task.loaded) as loaded:
            kind: Any = type(task)
            saved: Task = task if loaded is task.loaded else kind(task.recipe, loaded)
            return [*checks, _check_saving(saved, examples)]


def refuse_idle_smoothing(task: Task, examples: Examples, *, share: float) -> None:
    """Raise UsageError if label smoothing would change nothing, since the task's loss is not a cross-entropy, or would
    make the loss infinite."""
    task.loaded.model.eval()
    few = _few(examples)
    with torch.no_grad():
        plain = _loss(task, examples, few)
        with label_smoothing(share):
            smoothed = _loss(task, examples, few)
    if not math.isfinite(plain):
        return  # the first step reports it
    if not math.isfinite(smoothed):
        raise UsageError(f"train.label_smoothing: it makes the loss of {task.recipe.task} {smoothed}; remove it.")
    if smoothed == plain:
        raise UsageError(f"train.label_smoothing: the loss of {task.recipe.task} is not a cross-entropy; remove it.")


# ---- targets


@dataclass
class _Counts:
    """Counts over the checked batches."""

    batches: int = 0
    examples: int = 0
    targets: int = 0
    ends: int = 0
    """End-of-text tokens among the targets."""
    without_targets: int = 0
    """Examples without targets."""


def _check_targets(task: Task, examples: Examples, *, train: TrainBlock) -> Iterator[Check]:
    end_id = task.loaded.model.config.eos_token_id if task.recipe.HEAD in WRITING_HEADS else None
    totals = _Counts()
    for number, batch in enumerate(_first_batches(task, examples, train=train)):
        labels = batch["labels"]
        counted = labels != IGNORED
        _check_range(task, batch, labels[counted])
        totals.batches += 1
        totals.examples += len(labels)
        totals.targets += int(counted.sum())
        totals.ends += int((labels[counted] == end_id).sum()) if end_id is not None else 0
        totals.without_targets += int((~counted.reshape(len(labels), -1).any(dim=1)).sum())
        if not counted.any() and len(labels) > 1:  # the last batch of a corpus may be a single token
            raise _failed(
                "targets",
                f"the {len(labels):,} examples of batch {number + 1:,} have none, so the batch would not train anything",
                kind=DataError,
            )
    if not totals.targets:
        raise _failed("targets", f"there are none in {totals.examples:,} examples", kind=DataError)
    batches = steps_per_epoch(len(examples), batch_size=train.batch_size)
    counts = f"{totals.targets:,} in {min(totals.batches, batches):,} of the {batches:,} batches of the first epoch"
    without = f", none in {totals.without_targets:,} of {totals.examples:,} examples" if totals.without_targets else ""
    yield Check("targets", counts + without)
    yield Check("labels", _bounds(task))
    if end_id is not None:
        if not totals.ends:
            raise _failed(
                "end of text",
                f"token {end_id} is not among the {totals.targets:,} targets of {totals.batches:,} batches; a model that "
                "never learns to end a text never stops",
                kind=DataError,
            )
        yield Check("end of text", f"{totals.ends:,} among the targets")


def _first_batches(task: Task, examples: Examples, *, train: TrainBlock) -> Iterator[Batch]:
    """The batches of the first epoch, up to the limit, then the last example: a corpus of a single text has its only end
    token there."""
    elements = 0
    for step in range(steps_per_epoch(len(examples), batch_size=train.batch_size)):
        indices = batch_of_step(step, count=len(examples), batch_size=train.batch_size, seed=train.seed)
        batch = task.collate(examples, indices, epoch=0)
        elements += sum(tensor.numel() for tensor in batch.values())
        yield batch
        if elements >= _MOST_ELEMENTS:
            yield task.collate(examples, np.arange(len(examples) - 1, len(examples)), epoch=0)
            return


def _check_range(task: Task, batch: Batch, targets: Tensor) -> None:
    """Without this check, a target outside the head's outputs would be an index error, on a GPU a fatal one."""
    limit = _outputs(task, batch)
    if limit is None or targets.is_floating_point() or not len(targets):
        return
    lowest, highest = int(targets.min()), int(targets.max())
    if lowest < 0 or highest >= limit:
        label = lowest if lowest < 0 else highest
        raise _failed(
            "labels", f"{label} is among them, but the head has the outputs 0 to {limit - 1:,}", kind=DataError
        )


def _outputs(task: Task, batch: Batch) -> int | None:
    """Number of values that a target may have, from 0; None for any."""
    model = task.loaded.model
    if task.recipe.HEAD in LABELLED_HEADS:
        multilabel = model.config.problem_type == "multi_label_classification"  # 0 or 1 for each output
        return 2 if multilabel else int(model.config.num_labels)
    if task.recipe.HEAD in VOCABULARY_HEADS:
        return int(model.config.vocab_size)
    return int(batch["input_ids"].shape[-1]) if task.recipe.HEAD in SPAN_HEADS else None


def _bounds(task: Task) -> str:
    if task.recipe.HEAD in LABELLED_HEADS:
        return f"within the {task.loaded.model.config.num_labels:,} of the head"
    return "within the vocabulary" if task.recipe.HEAD in VOCABULARY_HEADS else "within the text"


# ---- the model


def _check_padding(task: Task, examples: Examples) -> Check:
    """Compare the loss of a few examples in one batch with their losses one by one."""
    few = _few(examples)
    batched = _loss(task, examples, few)
    separate = sum(_loss(task, examples, few[[number]]) for number in range(len(few)))
    lengths = ", ".join(f"{examples.lengths[index]:,}" for index in few)
    if not _same(batched, separate):
        raise _failed(
            "padding",
            f"examples of {lengths} tokens have a loss of {batched:.6g} in one batch, but {separate:.6g} one by one; "
            "padding must not change the loss of an example",
            kind=ModelError,
        )
    return Check("padding", f"same loss of examples of {lengths} tokens, in one batch and one by one")


def _check_saving(task: Task, examples: Examples) -> Check:
    """Save the model like a checkpoint, load it as for inference, and compare."""
    files = {**tokenizer_files(task.loaded), **changing_files(task.loaded)}
    with tempfile.TemporaryDirectory() as name:
        for file, content in files.items():
            (Path(name) / file).write_bytes(content)
        size = sum(map(len, files.values()))
        del files
        try:
            opened = load_model(name, head=task.recipe.HEAD, keep_adapter=True)
        except ModelError as error:
            raise _failed("saving", f"the saved model cannot be loaded ({error})", kind=ModelError) from error
    _compare_weights(task.loaded, opened)
    if opened.adapter is not None:
        merge_adapter(opened.model)  # as in inference
    opened.model.to(task.loaded.model.device).eval()
    kind: Any = type(task)
    reloaded: Task = kind(task.recipe, opened)
    for index in _few(examples):
        single = np.asarray([index])
        before, after = _loss(task, examples, single), _loss(reloaded, examples, single)
        if not _same(before, after):
            raise _failed(
                "saving",
                f"an example has a loss of {before:.6g}, but {after:.6g} with the model that was saved and loaded "
                "again; part of the model is not in its files",
                kind=ModelError,
            )
    return Check("saving", f"same weights and losses of the model loaded again, {size / 1e6:,.1f} MB")


def _compare_weights(before: LoadedModel, after: LoadedModel) -> None:
    saved, loaded = unique_tensors(before.model), unique_tensors(after.model)
    different = sorted(saved.keys() ^ loaded.keys()) or [
        name for name in saved if not torch.equal(saved[name], loaded[name])
    ]
    if different:
        listed = ", ".join(different[:5])
        raise _failed("saving", f"weights that differ after saving and loading: {listed}", kind=ModelError)


def _few(examples: Examples) -> np.ndarray:
    """The shortest, the middle and the longest example, each once."""
    order = np.argsort(examples.lengths, kind="stable")
    return np.unique(order[[0, len(order) // 2, -1]])


def _loss(task: Task, examples: Examples, indices: np.ndarray) -> float:
    return float(task.loss_sum(_on_device(task, task.collate(examples, indices, epoch=0))))


def _on_device(task: Task, batch: Batch) -> Batch:
    device = task.loaded.model.device
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _same(first: float, second: float) -> bool:
    if not math.isfinite(first) and not math.isfinite(second):
        return True  # nothing to compare: the first step reports such a loss
    return abs(first - second) <= _ROUNDING * max(1.0, abs(first))


def _failed(name: str, fault: str, *, kind: type[DataError] | type[ModelError]) -> DataError | ModelError:
    return kind(f"check before training: {name}: {fault}. {_OFF}")

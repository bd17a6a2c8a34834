"""The plan of a training: what it will do and need, put together from its rows, its model's shapes and this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState

from llmkit.atomic import megabytes
from llmkit.planning.batches import Batches, first_batches
from llmkit.planning.disk import Disk, needed_disk
from llmkit.planning.memory import Memory, needed_memory, unique_parameters
from llmkit.planning.planned import ModelSize, RowCounts, RunPlan, Steps
from llmkit.planning.rows import CORPUS_CHARACTERS, EncodedRows, TextSize, encode_rows
from llmkit.planning.timing import Timing, timed
from llmkit.planning.unweighted import Unweighted, unweighted_task
from llmkit.planning.values import ResolvedValue, resolved_values
from llmkit.recipe.blocks import ScratchModel
from llmkit.recipe.loading import LoadedRecipe
from llmkit.tasks.base import WRITING_HEADS, Task, TaskRecipe
from llmkit.training.accelerator import new_accelerator
from llmkit.training.device_memory import DeviceMemory, device_memory
from llmkit.training.loop import micro_batch_limit
from llmkit.training.precision import Precision, choose_precision
from llmkit.training.prepare import training_texts
from llmkit.training.schedule import Plan, plan_training
from llmkit.training.splits import Split, SplitRows


def make_plan(
    loaded: LoadedRecipe[TaskRecipe],
    path: str,
    splits: dict[Split, SplitRows],
    *,
    labels: tuple[str, ...] | None,
    measure: bool,
    folder: Path,
) -> RunPlan:
    """Plan a training; no weights are loaded, and nothing is trained.

    Args:
        path: the recipe's file.
        labels: names of the model's classes, by `check_rows`.
        measure: time a few steps, an evaluation and a save, with random weights.
        folder: of the run, which need not exist.
    Raises:
        LlmkitError: what training would raise before its first step.
    """
    recipe = loaded.recipe
    size = _text_size(recipe, splits["train"])
    unweighted = unweighted_task(recipe, splits["train"], labels=labels, characters=size.characters)
    encoded = encode_rows(unweighted.task, recipe, splits, size, cached=unweighted.same_tokenizer)
    course = _course(recipe, unweighted.task, encoded)
    model = _model_size(unweighted)
    needs = _needs(unweighted, encoded, course, folder=folder)
    fits = not needs.problems
    time = (
        _measured(unweighted.task, encoded, splits["validation"], course, folder=folder) if measure and fits else None
    )
    return RunPlan(
        recipe=path,
        task=recipe.task,
        values=_values(loaded, path, unweighted.task, course),
        model=model,
        data=_row_counts(encoded),
        steps=_steps(course, recipe),
        device=str(course.device),
        precision=course.precision,
        memory=needs.memory,
        memory_needed=needs.memory.peak,
        device_memory=needs.device_memory,
        disk=needs.disk,
        time=time,
        fits=needs.fit,
        problems=needs.problems,
        unknown=(
            *unweighted.estimates,
            *_unknown_size(encoded, size),
            *_unknown_memory(recipe, needs),
            *_unknown_time(recipe, time, measure=measure),
        ),
    )


@dataclass(frozen=True)
class _Course:
    """The steps of a training."""

    device: torch.device
    precision: Precision
    plan: Plan
    micro_batch_tokens: int
    batches: Batches


def _course(recipe: TaskRecipe, task: Task, encoded: EncodedRows) -> _Course:
    family, device, train = task.loaded.family, PartialState().device, recipe.train
    scratch = isinstance(recipe.model, ScratchModel)
    plan = plan_training(recipe, examples=encoded.train_examples, family=family, from_scratch=scratch)
    limit = micro_batch_limit(train, device.type)
    batches = first_batches(
        encoded.train,
        steps=plan.total_steps,
        batch_size=train.batch_size,
        seed=train.seed,
        micro_batch_tokens=limit,
    )
    return _Course(device, choose_precision(train.precision, family=family, device=device), plan, limit, batches)


def _values(loaded: LoadedRecipe[TaskRecipe], path: str, task: Task, course: _Course) -> tuple[ResolvedValue, ...]:
    resolved = resolved_values(
        loaded,
        path=path,
        plan=course.plan,
        model=task.loaded,
        precision=course.precision,
        micro_batch=course.micro_batch_tokens,
    )
    return tuple(resolved)


def _measured(task: Task, encoded: EncodedRows, validation_rows: SplitRows, course: _Course, *, folder: Path) -> Timing:
    """The time of the training; the model gets random weights."""
    return timed(
        task,
        encoded.train,
        validation_rows,
        encoded.validation,
        plan=course.plan,
        batches=course.batches,
        accelerator=new_accelerator(course.precision.accelerate),
        folder=folder,
    )


@dataclass(frozen=True)
class _Needs:
    """What a training needs, and what is there."""

    memory: Memory
    device_memory: DeviceMemory | None
    disk: Disk
    problems: tuple[str, ...]

    @property
    def fit(self) -> bool | None:
        """None if it is not known."""
        if self.problems:
            return False
        return True if self.memory.activations is not None and self.device_memory is not None else None


def _needs(unweighted: Unweighted, encoded: EncodedRows, course: _Course, *, folder: Path) -> _Needs:
    """What the training needs; the model gets fake tensors."""
    recipe = unweighted.task.recipe
    saved, finished = _saved_bytes(unweighted, recipe)
    memory = needed_memory(
        unweighted.task,
        encoded.train,
        course.batches.largest,
        train=recipe.train,
        precision=course.precision,
        device=course.device,
        saved_bytes=saved,
    )
    disk = needed_disk(folder, course.plan, keep=recipe.train.keep_checkpoints, checkpoint=saved, model=finished)
    available = device_memory(course.device)
    return _Needs(memory, available, disk, tuple(_problems(memory, available, disk, course)))


def _text_size(recipe: TaskRecipe, rows: SplitRows) -> TextSize:
    """The size of the text that a tokenizer is trained on; counted only where that matters."""
    if not recipe.PRETRAINS and not isinstance(recipe.model, ScratchModel):
        return TextSize(rows=sum(1 for _ in rows), characters=0)
    count = characters = 0
    for row in rows:
        count += 1
        characters += sum(map(len, training_texts(recipe, [row])))
    return TextSize(count, characters)


def _model_size(unweighted: Unweighted) -> ModelSize:
    loaded = unweighted.task.loaded
    named = {id(parameter): name for name, parameter in loaded.model.named_parameters()}
    parameters = unique_parameters(unweighted.task)
    return ModelSize(
        name=loaded.name,
        family=loaded.family.name,
        parameters=sum(parameter.numel() for parameter in parameters if ".lora_" not in named[id(parameter)]),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    )


def _saved_bytes(unweighted: Unweighted, recipe: TaskRecipe) -> tuple[int, int]:
    """Sizes of a checkpoint and of the finished model."""
    parameters, lora = unique_parameters(unweighted.task), recipe.train.lora
    whole = sum(parameter.nbytes for parameter in parameters)
    trained = sum(parameter.nbytes for parameter in parameters if parameter.requires_grad)
    return (whole if lora is None else trained) + 2 * trained, (
        trained if lora is not None and lora.save == "adapter" else whole
    )


def _row_counts(encoded: EncodedRows) -> RowCounts:
    return RowCounts(
        rows=encoded.rows,
        examples=encoded.train_examples,
        tokens=round(int(encoded.train.lengths.sum()) * encoded.scale),
        validation_rows=encoded.validation_rows,
        validation_examples=len(encoded.validation),
        estimated=encoded.scale != 1,
        lengths=encoded.lengths,
    )


def _steps(course: _Course, recipe: TaskRecipe) -> Steps:
    plan, batches = course.plan, course.batches
    return Steps(
        total=plan.total_steps,
        per_epoch=plan.steps_per_epoch,
        epochs=plan.total_steps / plan.steps_per_epoch,
        batch_size=recipe.train.batch_size,
        warmup=plan.warmup_steps,
        tokens=round(batches.tokens / batches.steps * plan.total_steps),
        padding_share=batches.padding_share,
        micro_batch_tokens=course.micro_batch_tokens,
        micro_batches=batches.micro_batches,
    )


def _problems(memory: Memory, available: DeviceMemory | None, disk: Disk, course: _Course) -> Iterator[str]:
    if available is not None and memory.peak > available.free:
        yield (
            f"memory of {course.device}: {megabytes(memory.peak)} are needed, and {megabytes(available.free)} of "
            f"{megabytes(available.total)} are free. {_advice(memory, available, course)}"
        )
    if disk.needed > disk.free:
        yield (
            f"disk of {disk.folder}: {disk.checkpoints} checkpoints of {megabytes(disk.checkpoint)} and the model need "
            f"{megabytes(disk.needed)}, and {megabytes(disk.free)} are free. Make room, or reduce train.keep_checkpoints."
        )


def _advice(memory: Memory, available: DeviceMemory, course: _Course) -> str:
    fixed = memory.weights + memory.gradients + memory.optimizer
    if memory.activations and fixed + memory.activations / 64 < available.free:
        share = (available.free - fixed) / memory.activations
        itself = ", and which a training halves by itself until they fit" if course.device.type == "cuda" else ""
        return (
            f"Set train.micro_batch_tokens to about {int(course.micro_batch_tokens * share):,}, which leaves the updates "
            f"the same{itself}, or train.gradient_checkpointing: true."
        )
    return "Use a smaller model, train.lora, or another device."


def _unknown_size(encoded: EncodedRows, size: TextSize) -> Iterator[str]:
    if encoded.scale != 1:
        yield (
            f"examples, tokens and steps are estimated from a sample of {CORPUS_CHARACTERS:,} of {size.characters:,} "
            "characters"
        )


def _unknown_memory(recipe: TaskRecipe, needs: _Needs) -> Iterator[str]:
    if needs.memory.activations is None:
        yield "the memory of activations: this model's code needs numbers to be run"
    if needs.device_memory is None:
        yield "how much memory the device has"
    yield "memory beside tensors: most workspaces of operations; other programs"
    if _writes(recipe):
        yield "the memory of texts that are written in evaluations"


def _unknown_time(recipe: TaskRecipe, time: Timing | None, *, measure: bool) -> Iterator[str]:
    if time is None:
        yield "the time: not measured since it does not fit" if measure else "the time; --measure times a few steps"
    elif time.is_upper_limit:
        yield "how long the texts of evaluations become: with random weights they are longest, so the time is at most this"
    if recipe.evaluation.patience is not None:
        yield "whether evaluation.patience ends the training earlier"


def _writes(recipe: TaskRecipe) -> bool:
    """Whether evaluations write texts."""
    return recipe.HEAD in WRITING_HEADS and bool(recipe.metrics)

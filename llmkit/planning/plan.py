"""The plan of a training: what it will do and need, put together from its rows, its model's shapes and this machine."""

from __future__ import annotations

from collections.abc import Iterator
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
from llmkit.planning.values import resolved_values
from llmkit.recipe.blocks import ScratchModel
from llmkit.recipe.loading import LoadedRecipe
from llmkit.tasks.base import WRITING_HEADS, TaskRecipe
from llmkit.training.accelerator import new_accelerator
from llmkit.training.device_memory import DeviceMemory, device_memory
from llmkit.training.loop import micro_batch_limit
from llmkit.training.precision import choose_precision
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
    task = unweighted.task
    encoded = encode_rows(task, recipe, splits, size, cached=unweighted.same_tokenizer)
    family, scratch, device = task.loaded.family, isinstance(recipe.model, ScratchModel), PartialState().device
    precision = choose_precision(recipe.train.precision, family=family, device=device)
    plan = plan_training(recipe, examples=encoded.train_examples, family=family, from_scratch=scratch)
    limit = micro_batch_limit(recipe.train, device.type)
    batches = first_batches(
        encoded.train,
        steps=plan.total_steps,
        batch_size=recipe.train.batch_size,
        seed=recipe.train.seed,
        micro_batch_tokens=limit,
    )
    model = _model_size(unweighted)
    saved, finished = _saved_bytes(unweighted, recipe)
    memory = needed_memory(
        task,
        encoded.train,
        batches.largest,
        train=recipe.train,
        precision=precision,
        device=device,
        saved_bytes=saved,
    )
    disk = needed_disk(folder, plan, keep=recipe.train.keep_checkpoints, checkpoint=saved, model=finished)
    needed, available = memory.total(on_cpu=device.type == "cpu"), device_memory(device)
    problems = tuple(_problems(memory, needed, available, disk, batches=batches, limit=limit, device=device))
    time = None
    if measure and not problems:
        time = timed(
            task,
            encoded.train,
            splits["validation"],
            encoded.validation,
            plan=plan,
            batches=batches,
            accelerator=new_accelerator(precision.accelerate),
            folder=folder,
        )
    known = memory.activations is not None and available is not None
    return RunPlan(
        recipe=path,
        task=recipe.task,
        values=tuple(
            resolved_values(loaded, path=path, plan=plan, model=task.loaded, precision=precision, micro_batch=limit)
        ),
        model=model,
        data=_row_counts(encoded),
        steps=_steps(plan, recipe, batches, limit),
        device=str(device),
        precision=precision,
        memory=memory,
        memory_needed=needed,
        device_memory=available,
        disk=disk,
        time=time,
        fits=False if problems else True if known else None,
        problems=problems,
        unknown=tuple(_unknown(recipe, unweighted, encoded, size, memory, available, time, measure=measure)),
    )


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


def _steps(plan: Plan, recipe: TaskRecipe, batches: Batches, limit: int) -> Steps:
    return Steps(
        total=plan.total_steps,
        per_epoch=plan.steps_per_epoch,
        epochs=plan.total_steps / plan.steps_per_epoch,
        batch_size=recipe.train.batch_size,
        warmup=plan.warmup_steps,
        tokens=round(batches.tokens / batches.steps * plan.total_steps),
        padding_share=batches.padding_share,
        micro_batch_tokens=limit,
        micro_batches=batches.micro_batches,
    )


def _problems(
    memory: Memory,
    needed: int,
    available: DeviceMemory | None,
    disk: Disk,
    *,
    batches: Batches,
    limit: int,
    device: torch.device,
) -> Iterator[str]:
    if available is not None and needed > available.free:
        yield (
            f"memory of {device}: {megabytes(needed)} are needed, and {megabytes(available.free)} of "
            f"{megabytes(available.total)} are free. {_advice(memory, available, limit)}"
        )
    if disk.needed > disk.free:
        yield (
            f"disk of {disk.folder}: {disk.checkpoints} checkpoints of {megabytes(disk.checkpoint)} and the model need "
            f"{megabytes(disk.needed)}, and {megabytes(disk.free)} are free. Make room, or reduce train.keep_checkpoints."
        )


def _advice(memory: Memory, available: DeviceMemory, limit: int) -> str:
    fixed = memory.weights + memory.gradients + memory.optimizer
    if memory.activations and fixed + memory.activations / 64 < available.free:
        share = (available.free - fixed) / memory.activations
        return (
            f"Set train.micro_batch_tokens to about {int(limit * share):,}, which leaves the updates the same, or "
            "train.gradient_checkpointing: true."
        )
    return "Use a smaller model, train.lora, or another device."


def _unknown(
    recipe: TaskRecipe,
    unweighted: Unweighted,
    encoded: EncodedRows,
    size: TextSize,
    memory: Memory,
    available: DeviceMemory | None,
    time: Timing | None,
    *,
    measure: bool,
) -> Iterator[str]:
    yield from unweighted.estimates
    if encoded.scale != 1:
        yield (
            f"examples, tokens and steps are estimated from a sample of {CORPUS_CHARACTERS:,} of {size.characters:,} "
            "characters"
        )
    if memory.activations is None:
        yield "the memory of activations: this model's code needs numbers to be run"
    if available is None:
        yield "how much memory the device has"
    yield "memory beside tensors: workspaces of operations and gaps between allocations; other programs"
    writes = recipe.HEAD in WRITING_HEADS and bool(recipe.metrics)
    if writes:
        yield "the memory of texts that are written in evaluations"
    if time is None:
        yield "the time: not measured since it does not fit" if measure else "the time; --measure times a few steps"
    elif time.is_upper_limit:
        yield "how long the texts of evaluations become: with random weights they are longest, so the time is at most this"
    if recipe.evaluation.patience is not None:
        yield "whether evaluation.patience ends the training earlier"

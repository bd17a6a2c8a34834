"""`llmkit plan`: what a training will do and need, and whether it fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.lines import print_lines, size
from llmkit.cli.output import one_line, shown
from llmkit.cli.progress import clock
from llmkit.cli.tables import print_table
from llmkit.errors import MachineError

if TYPE_CHECKING:
    from llmkit.api import ResolvedValue, RunPlan

_MAX_CHARACTERS = 300
"""Of a value."""


def plan(
    recipe: Annotated[str, typer.Argument(help="Recipe, a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a value of the recipe, such as train.epochs=1. Can be repeated.",
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Time a few steps, an evaluation and a save, with random weights."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Show what a training will do and need, without weights and without training: values, rows, steps, memory, disk.

    Exits with 5 if memory or disk does not suffice.
    """
    from llmkit import api

    found = api.plan(recipe, overrides=overrides or (), measure=measure)
    if as_json:
        print(shown(json.dumps(_record(found), ensure_ascii=False)))
    else:
        print_table(("key", "value", "from"), [tuple(map(one_line, _cells(value))) for value in found.values])
        print()
        print_lines(_facts(found))
    if found.problems:
        raise MachineError("\n".join(found.problems))


COMMANDS = (plan,)


def _record(found: RunPlan) -> dict[str, Any]:
    return asdict(found)


def _cells(value: ResolvedValue) -> tuple[str, str, str]:
    origin = value.origin if value.place is None else value.place.rpartition(":")[0]  # without the column
    if value.origin == "parent recipe":
        origin = f"parent {origin}"
    if value.resolved is None:
        return value.key, _text(value.value), origin
    by = "" if value.reason is None else f": {value.reason}"
    if value.value is None:
        return value.key, _text(value.resolved), f"{origin}{by}"
    return value.key, f"{_text(value.value)} = {_text(value.resolved)}", f"{origin}{by}"


def _text(value: Any) -> str:
    """A value as a recipe spells it, shortened."""
    if isinstance(value, list):
        text = f"[{', '.join(map(_text, value))}]"
    elif isinstance(value, str):
        text = value
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def _facts(found: RunPlan) -> Iterator[tuple[str, str]]:
    """Name and value of each line."""
    model, data, steps = found.model, found.data, found.steps
    about = "about " if data.estimated else ""
    trained = "all trained" if model.trainable == model.parameters else f"{model.trainable:,} trained"
    yield "model", f"{model.name}, {model.parameters:,} parameters, {trained}"
    yield (
        "data",
        f"{data.rows:,} training rows, {about}{data.examples:,} examples, {about}{data.tokens:,} tokens; "
        f"{data.validation_examples:,} examples for validation",
    )
    for lengths in data.lengths:
        over = "no limit" if lengths.limit is None else f"{lengths.over_limit:.1%} over {lengths.limit:,}"
        done = "" if lengths.limit is None or not lengths.over_limit else f" ({lengths.overflow})"
        yield (
            "lengths",
            f"{lengths.what}: p50 {lengths.p50:,}, p90 {lengths.p90:,}, p99 {lengths.p99:,}, longest "
            f"{lengths.longest:,} tokens; {over}{done}",
        )
    yield (
        "steps",
        f"{about}{steps.total:,}: {steps.epochs:.3g} epochs of {steps.per_epoch:,}, {steps.batch_size:,} examples each; "
        f"{steps.warmup:,} of warm-up",
    )
    yield (
        "tokens",
        f"about {steps.tokens:,} in all; {steps.padding_share:.1%} padding in micro-batches of up to "
        f"{steps.micro_batch_tokens:,}, {steps.micro_batches:.3g} a step",
    )
    yield "precision", f"{found.precision.format} on {found.device}: {found.precision.reason}"
    yield "memory", _memory(found)
    disk = found.disk
    yield (
        "disk",
        f"{size(disk.needed)} of {size(disk.free)} free in {disk.folder}: {disk.checkpoints} checkpoints of "
        f"{size(disk.checkpoint)}, model {size(disk.model)}",
    )
    yield "time", _time(found)
    for line in found.unknown:
        yield "unknown", line
    yield "fits", {True: "yes", False: "no", None: "unknown"}[found.fits]


def _memory(found: RunPlan) -> str:
    memory, device = found.memory, found.device_memory
    activations = "unknown" if memory.activations is None else size(memory.activations)
    free = "" if device is None else f" of {size(device.free)} free"
    return (
        f"{size(found.memory_needed)}{free} on {found.device}: weights {size(memory.weights)}, gradients "
        f"{size(memory.gradients)}, optimizer {size(memory.optimizer)}, activations {activations}; while a checkpoint is "
        f"saved, {size(memory.saving)} of copies"
    )


def _time(found: RunPlan) -> str:
    time = found.time
    if time is None:
        return "not measured"
    most = "at most " if time.is_upper_limit else "about "
    return (
        f"{most}{clock(time.total_seconds)}: {found.steps.total:,} steps of {time.step_seconds:.3g} s ({time.steps} timed), "
        f"{time.evaluations:,} evaluations of {time.evaluation_seconds:.3g} s, {time.saves:,} saves of "
        f"{time.save_seconds:.3g} s"
    )

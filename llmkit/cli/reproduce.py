"""`llmkit reproduce`: train a run again, and say whether the weights are the same."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.output import one_line, shown
from llmkit.cli.processes import process_count, start_processes
from llmkit.errors import UsageError
from llmkit.stopping import stopping_at_signals

if TYPE_CHECKING:
    from llmkit.api import Reproduction

DIFFERENT = 8
"""Exit code: the weights differ."""
_SHOWN = 10
"""Differences that are printed; --json has all."""


def reproduce(
    run: Annotated[str, typer.Argument(help="Folder of a finished run.")],
    into: Annotated[
        str | None,
        typer.Option("--run", help="Folder for the new run. Default: RUN-reproduced-001, then -002 and so on."),
    ] = None,
    compare_with: Annotated[
        str | None, typer.Option("--with", metavar="RUN", help="Compare with this finished run; do not train.")
    ] = None,
    allow_changed_data: Annotated[
        bool, typer.Option("--allow-changed-data", help="Train even if the data files have changed.")
    ] = False,
    processes: Annotated[
        str | None, typer.Option("--processes", metavar="N", help="Number of processes, as in the first training.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object with all differences.")] = False,
) -> None:
    """Train a run again from its recipe, data and seed, and compare the weights bit for bit.

    Exits with 8 if the weights differ; the first difference of environment, data, recipe or metrics is printed.
    """
    if compare_with is not None and (into or processes or allow_changed_data):
        raise UsageError(
            "--with compares two runs and trains none; --run, --processes and --allow-changed-data do not apply."
        )
    if processes is not None and "RANK" not in os.environ:
        raise typer.Exit(start_processes(process_count(processes), sys.argv[1:]))
    from llmkit import api
    from llmkit.cli.progress import TrainingDisplay

    with stopping_at_signals([signal.SIGINT]), TrainingDisplay() as display:
        result = api.reproduce(
            run, into=into, compare_with=compare_with, allow_changed_data=allow_changed_data, report=display
        )
    if result is None:
        return
    if as_json:
        print(shown(json.dumps(_record(result), ensure_ascii=False)))
    else:
        for line in _lines(result):
            print(shown(one_line(line)))
    if not result.identical:
        raise typer.Exit(DIFFERENT)


COMMANDS = (reproduce,)


def _record(result: Reproduction) -> dict[str, Any]:
    record = dataclasses.asdict(result)
    largest = result.weights.largest
    record["weights"]["largest"] = largest if math.isfinite(largest) else None
    return {**record, "run": str(result.run), "reproduced": str(result.reproduced)}


def _lines(result: Reproduction) -> list[str]:
    weights, what = result.weights, f"{result.weights.tensors:,} tensors, {result.weights.numbers:,} numbers"
    of = "" if result.compared == "model" else f" ({result.compared})"
    if result.identical:
        first = f"{result.reproduced}  the weights are those of {result.run}{of}, bit for bit: {what}"
    else:
        first = f"{result.reproduced}  the weights are not those of {result.run}{of}"
    lines = [first]
    for difference in result.differences[:_SHOWN]:
        place = difference.part if difference.step is None else f"step {difference.step:,}"
        lines.append(f"{place:<12} {difference.key} was {difference.before!r:.60}, is {difference.after!r:.60}")
    if len(result.differences) > _SHOWN:
        lines.append(f"{len(result.differences) - _SHOWN} more differences: --json has all")
    if result.identical:
        return lines
    if all(difference.part == "metrics" for difference in result.differences):
        lines.append("environment, data and recipe are the same")
    largest = f"{weights.largest:.3g}" if math.isfinite(weights.largest) else "another shape"
    named = f", in {weights.largest_in}" if weights.largest_in else ""
    lines.append(
        f"{'weights':<12} {len(weights.different):,} of {weights.tensors:,} tensors differ; largest difference {largest}{named}"
    )
    return lines

"""The run and the rows that `evaluate` measures on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from llmkit.data.fields import Fields
from llmkit.data.rows import Row
from llmkit.data.sources import open_rows
from llmkit.errors import UsageError, nearest
from llmkit.recipe.blocks import ColumnType, DataBlock, Quoting
from llmkit.recipe.recipe import LabelSets
from llmkit.runs.folder import Run, finished_runs, open_run
from llmkit.tasks.base import TaskRecipe
from llmkit.training.resume import check_sources
from llmkit.training.row_checks import check_sources_with_labels
from llmkit.training.splits import Split, SplitRows, clusters_of, on_bad_row, open_splits, reading_options

logger = logging.getLogger("llmkit")
_MAPPED_BY_OPTION = "Map it with --column {field}={column}"


def find_run(model: str | None) -> Run | None:
    """The run of this name, or the newest finished run; None for a model that is not a run."""
    if model is None:
        runs = finished_runs()
        if not runs:
            raise UsageError("no finished run here. Give --model, or --predictions with --references.")
        logger.info("model: %s, the newest finished run", runs[0].folder)
        return runs[0]
    return open_run(model) if (Path(model) / "run.json").exists() else None


def check_fields(
    columns: Mapping[str, str | tuple[str, ...]] | None,
    column_types: Mapping[str, ColumnType],
    *,
    of: str,
    label_sets: LabelSets | None = None,
) -> None:
    unknown = [field for field in columns or () if field not in column_types]
    if unknown:
        hint = nearest(unknown[0], column_types)
        raise UsageError(f"--column: {unknown[0]!r} is not a field of {of}.{hint} Use {', '.join(column_types)}.")
    for field, column in (columns or {}).items():
        if isinstance(column, tuple) and (label_sets is None or column_types[field] != "labels"):
            raise UsageError(f"--column: {field} has {len(column)} columns, {', '.join(column)}. Give one.")


def evaluation_rows(
    recipe: TaskRecipe,
    run: Run | None,
    *,
    labels: tuple[str, ...] | None,
    data: Sequence[str] | None,
    columns: Mapping[str, str | tuple[str, ...]],
    reading: DataBlock,
) -> tuple[SplitRows, str]:
    """The rows to measure on, all of them checked, and their description.

    Args:
        labels: names of the model's classes, in the order of its outputs; None for a head without classes.
    """
    if data:
        source = open_rows(
            list(data),
            Fields(
                column_types=recipe.column_types,
                optional=recipe.OPTIONAL_FIELDS,
                groups=recipe.FIELD_GROUPS,
                aliases=recipe.COLUMN_ALIASES,
                columns=reading.columns,
                mapping=_MAPPED_BY_OPTION,
                origins={
                    field: f"{run.recipe if run else 'The recipe'} has data.columns: {{{field}: {column}}}."
                    for field, column in reading.columns.items()
                    if field not in columns
                },
                label_sets=recipe.label_sets(labels or ()),
                clusters=clusters_of(recipe, is_required=False),
            ),
            split="test",
            text_files=getattr(recipe, "text_files", "line"),
            quoting=reading.quoting,
            offsets=reading.offsets,
            check=partial(recipe.check_row, labels=labels),
            on_bad_row=on_bad_row(reading),
            advice="--skip-bad-rows",
        )
        if reading.columns:
            logger.info("columns: %s", ", ".join(f"{field} {column!r}" for field, column in reading.columns.items()))
        for table in source.tables_without_clusters():
            logger.warning(
                "%s: no column %r, the recipe's data.cluster: its rows count as independent of each other",
                *(table, recipe.data.cluster),
            )
        for _ in source:  # report all bad rows before any is encoded
            pass
        options = reading_options(recipe, reading=reading)
        return SplitRows(source, "test", read_fields=recipe.READ_FIELDS, options=options), ", ".join(data)
    assert run is not None, "a model that is no run needs data"
    splits = open_splits(recipe, run=run)
    check_sources_with_labels(recipe, splits, labels=labels)
    name: Split = "test" if "test" in splits else "validation"
    check_sources(run, {name: splits[name].source.fingerprint()})
    if name == "validation":
        logger.warning("the recipe has no data.test: these are the validation rows, which selected the checkpoint")
    return splits[name], f"{name} rows of {run.folder}"


def labelled_rows(
    data: Sequence[str], *, columns: Mapping[str, str | tuple[str, ...]] | None, quoting: Quoting
) -> list[Row]:
    """Rows with a text and a label, for `neighbour_recall`."""
    column_types: dict[str, ColumnType] = {"text": "text", "label": "label"}
    check_fields(columns, column_types, of="neighbour_recall")
    return list(
        open_rows(
            list(data),
            Fields(column_types=column_types, columns=columns or {}, mapping=_MAPPED_BY_OPTION),
            split="test",
            quoting=quoting,
            on_bad_row="list",
        )
    )

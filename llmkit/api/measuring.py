"""`evaluate`: a model on rows, or predictions on references."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.api.verbs import USES, own_verb
from llmkit.atomic import replace_file
from llmkit.data.rows import Row
from llmkit.data.sources import open_rows
from llmkit.errors import ModelError, UsageError, nearest
from llmkit.evaluation.metrics import METRICS, RougeTokenizer, neighbour_recall, score_names_of
from llmkit.recipe.blocks import ColumnType, DataBlock, Quoting
from llmkit.recipe.loading import load_recipe
from llmkit.recipe.recipe import Recipe
from llmkit.runs.folder import Run, finished_runs, finite, open_run, write_json
from llmkit.tasks import RECIPES
from llmkit.tasks.of_model import recipe_of_model
from llmkit.training.metric_checks import check_metrics_fit
from llmkit.training.resume import check_sources
from llmkit.training.splits import Split, SplitRows, open_splits, reading_as, reading_options

if TYPE_CHECKING:
    from llmkit.data.examples import Examples
    from llmkit.evaluation.comparing import Comparison
    from llmkit.models.families import Head
    from llmkit.models.loaded import LoadedModel
    from llmkit.tasks.base import Pooling, Scores, Task, TaskRecipe

logger = logging.getLogger("llmkit")
_MAPPED_BY_OPTION = "Map it with --column {field}={column}"


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on what."""

    model: str | None
    """None where files alone were compared."""
    data: str
    rows: int
    scores: Scores
    predictions: list[Any]
    comparison: Comparison | None = None
    """With the task's baselines, where that was asked for."""
    columns: Mapping[str, str | None] | None = None
    """Where files were compared, the column of the `predictions` and that of the `references`; None for plain text.
    Where a model was measured on given rows, the columns of fields that have another name."""


def evaluate_model(
    model: str | None = None,
    *,
    data: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    quoting: Quoting | None = None,
    metrics: Sequence[str] | None = None,
    rouge_tokenizer: RougeTokenizer = "auto",
    pooling: Pooling | None = None,
    baseline: bool = False,
) -> Evaluation:
    """Scores of a model on the rows of `data`, or of a run on its recipe's test rows, else its validation rows.

    A run's result is also written to its folder `evaluation/`: the scores, and every prediction beside its
    reference.

    Args:
        model: a run, a folder or a hub model; without it, the newest finished run.
        data: sources as in a recipe.
        columns: field -> column, for `data`; a run's own recipe says where the other fields are.
        quoting: what quotation marks mean in .csv and .tsv files of `data`; without it, as a run's own recipe says.
        pooling: for the metric `neighbour_recall`, which measures vectors; see `evaluate_embeddings`.
        baseline: measure what costs nothing on the same rows, too, trained on the run's training rows.
    Raises:
        UsageError: no rows are named, and the model is not a run; or a baseline must be trained, and it is not; or
            columns or quoting without rows of their own.
        DataError: rows that the task cannot use, or a run's data that have changed since.
    """
    if _is_of_vectors(metrics, pooling=pooling, baseline=baseline):
        vectors = pooling or "mean"
        return evaluate_embeddings(model, data=data, columns=columns, quoting=quoting or "auto", pooling=vectors)
    score_names_of(metrics or ())  # an unknown name is told now, not after the model has read everything
    from accelerate import Accelerator

    from llmkit.evaluation.measure import measure
    from llmkit.inference.engines.transformers import TransformersEngine
    from llmkit.tasks.build import build_task

    run, recipe, loaded = _opened(model, data=data)
    _check_request(recipe, columns=columns, metrics=metrics)
    if not data and (columns or quoting):
        option = "--column" if columns else "--quoting"
        raise UsageError(f"{option}: the run's own rows are read as its recipe says. Give --data, or leave it out.")
    train = _baseline_rows(recipe, run) if baseline else None
    reading = reading_as(recipe, columns=columns or {}, quoting=quoting)
    rows, described = _rows(recipe, run, data=data, columns=columns or {}, reading=reading)
    task = build_task(recipe, loaded)
    examples = task.encode(rows)
    accelerator = Accelerator()
    engine = TransformersEngine(loaded, device=accelerator.device)
    wanted = metrics or task.recipe.metrics  # the task's own recipe knows what `auto` came to
    scores, predictions = measure(
        task, examples, engine=engine, accelerator=accelerator, metrics=wanted, rouge_tokenizer=rouge_tokenizer
    )
    comparison = None
    if train is not None:
        comparison = _compared(
            task, scores, train=train, rows=rows, examples=examples, metrics=wanted, rouge_tokenizer=rouge_tokenizer
        )
    name = str(run.folder) if run else loaded.name
    mapped = reading.columns if data else None
    evaluation = Evaluation(name, described, examples.rows, scores, predictions, comparison, mapped or None)
    if run is not None:
        _write(run, evaluation, name="data" if data else described.split()[0], references=examples.references)
    return evaluation


def _is_of_vectors(metrics: Sequence[str] | None, *, pooling: Pooling | None, baseline: bool) -> bool:
    """Whether the one metric that is asked for measures vectors.

    Raises:
        UsageError: an option that does not go with the metrics.
    """
    if metrics and len(metrics) == 1 and metrics[0] in METRICS and METRICS[metrics[0]].of_vectors:
        if baseline:
            raise UsageError("--baseline: neighbour_recall has none; it prints chance beside its scores. Leave it out.")
        return True
    if pooling is not None:
        raise UsageError("--pooling is for the metric neighbour_recall, which measures vectors. Leave it out.")
    return False


def _opened(model: str | None, *, data: Sequence[str] | None) -> tuple[Run | None, TaskRecipe, LoadedModel]:
    """A run with its recipe and model, or a model that is no run with the recipe that its configs give."""
    from llmkit.models.loading import load_model

    run = _run_of(model)
    if run is not None:
        recipe = load_recipe(run.recipe, kinds=RECIPES).recipe
        return run, recipe, load_model(str(run.folder), head=recipe.HEAD)
    head = _own_head(str(model))
    loaded = load_model(str(model), head=head)
    if not data:
        raise UsageError(f"{loaded.name} is not a run, so it has no rows of its own. Give --data.")
    return None, recipe_of_model(loaded, head=head, data=data), loaded


def evaluate_embeddings(
    model: str | None = None,
    *,
    data: Sequence[str] | None,
    columns: Mapping[str, str] | None = None,
    quoting: Quoting = "auto",
    pooling: Pooling = "mean",
) -> Evaluation:
    """Whether rows of one label lie near each other as vectors of a model: the metric `neighbour_recall`.

    A run's result is also written to its folder, as `evaluation/neighbours.json`. The predictions are the labels of
    the nearest other rows.

    Args:
        model: anything that `embed` takes; without it, what `embed` would take.
        data: sources of labelled rows, as in a recipe.
        columns: the columns of `text` and `label`, where they have other names.
    Raises:
        UsageError: no rows are named.
        DataError: rows without a text or a label, or fewer than two.
    """
    from llmkit.api.using import load

    column_types: dict[str, ColumnType] = {"text": "text", "label": "label"}
    if not data:
        raise UsageError("neighbour_recall needs rows with a text and a label. Give --data.")
    _check_fields(columns, column_types, of="neighbour_recall")
    rows = list(
        open_rows(
            list(data),
            column_types=column_types,
            columns=columns or {},
            split="test",
            quoting=quoting,
            mapping=_MAPPED_BY_OPTION,
        )
    )
    opened = load(model, verb="embed")
    texts, labels = [row.fields["text"] for row in rows], [row.fields["label"] for row in rows]
    if repeated := len(texts) - len(set(texts)):
        count = f"{repeated:,} of {len(texts):,}"
        logger.warning("%s texts stood there already: such rows are each other's nearest neighbours", count)
    scores = neighbour_recall(opened.embed(texts, pooling=pooling), labels)
    name = opened.loaded.name
    scores = replace(scores, details={**scores.details, "pooling": pooling})
    nearest_labels = scores.details.pop("nearest_labels")
    mapped = dict(columns) if columns else None
    evaluation = Evaluation(name, ", ".join(data), len(rows), scores, nearest_labels, columns=mapped)
    if (run := _run_of(name)) is not None:
        _write(run, evaluation, name="neighbours", references=labels)
    return evaluation


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """For JSON: rows, scores, details, and what the model was held against where that was asked for."""
    record: dict[str, Any] = {
        "data": evaluation.data,
        "rows": evaluation.rows,
        "scores": evaluation.scores.values,
        "details": evaluation.scores.details,
    }
    if evaluation.columns is not None:
        record["columns"] = dict(evaluation.columns)
    if (comparison := evaluation.comparison) is not None:
        record |= {
            "baselines": {one.name: {"title": one.title, "scores": one.scores} for one in comparison.baselines},
            "verdict": {
                "metric": comparison.metric,
                "better": comparison.better,
                "text": comparison.verdict,
            },
            "baseline_train_rows": comparison.train_rows,
        }
    checked: dict[str, Any] = finite(record)
    return checked


def _run_of(model: str | None) -> Run | None:
    if model is None:
        runs = finished_runs()
        if not runs:
            raise UsageError("no finished run here. Give --model, or --predictions with --references.")
        logger.info("model: %s, the newest finished run", runs[0].folder)
        return runs[0]
    return open_run(model) if (Path(model) / "run.json").exists() else None


def _own_head(name: str) -> Head:
    """
    Raises:
        ModelError: it has none.
    """
    from llmkit.models.resolve import find_model

    verb = own_verb(find_model(name).config)
    if verb == "embed":
        raise ModelError(f"{name} gives vectors alone. Measure them with --metric neighbour_recall.")
    return USES[verb].head


def _check_request(recipe: Recipe, *, columns: Mapping[str, str] | None, metrics: Sequence[str] | None) -> None:
    """Refuse what the task would pass over without a word."""
    _check_fields(columns, recipe.column_types, of=recipe.task)
    if metrics and not recipe.own_metrics:
        raise UsageError(f"--metric: {recipe.task} has no predictions to measure, only its loss. Leave it out.")
    check_metrics_fit(recipe, metrics or (), key="--metric")


def _check_fields(columns: Mapping[str, str] | None, column_types: Mapping[str, ColumnType], *, of: str) -> None:
    unknown = [field for field in columns or () if field not in column_types]
    if unknown:
        hint = nearest(unknown[0], column_types)
        raise UsageError(f"--column: {unknown[0]!r} is not a field of {of}.{hint} Use {', '.join(column_types)}.")


def _baseline_rows(recipe: TaskRecipe, run: Run | None) -> Iterable[Row]:
    """The run's training rows, or nothing where no baseline of the task learns.

    Raises:
        UsageError: there is no run to take them from.
        DataError: they have changed since.
    """
    from llmkit.evaluation.comparing import needs_training_rows

    if not needs_training_rows(recipe):
        return ()
    if run is None:
        raise UsageError(
            f"--baseline: the baselines of {recipe.task} are trained on a run's training rows, and this model is "
            "not a run. Give the run's folder."
        )
    train = open_splits(recipe)["train"]
    check_sources(run, {"train": train.source.fingerprint()})
    return train


def _compared(
    task: Task,
    scores: Scores,
    *,
    train: Iterable[Row],
    rows: Iterable[Row],
    examples: Examples,
    metrics: Sequence[str],
    rouge_tokenizer: RougeTokenizer,
) -> Comparison | None:
    from llmkit.evaluation.baselines import judged_by_loss
    from llmkit.evaluation.comparing import compare_loss, compare_predictions

    if judged_by_loss(task.recipe):
        return compare_loss(task, scores.values, train=task.encode(train), examples=examples)
    comparison = compare_predictions(
        task,
        scores.values,
        train=train,
        rows=list(rows),
        examples=examples,
        metrics=metrics,
        rouge_tokenizer=rouge_tokenizer,
    )
    if comparison is None:
        logger.warning("--baseline: %s has none for these rows and metrics", task.recipe.task)
    return comparison


def _rows(
    recipe: Recipe,
    run: Run | None,
    *,
    data: Sequence[str] | None,
    columns: Mapping[str, str],
    reading: DataBlock,
) -> tuple[SplitRows, str]:
    """The rows to measure on, and what to call them."""
    if data:
        source = open_rows(
            list(data),
            column_types=recipe.column_types,
            optional=recipe.OPTIONAL_ROLES,
            groups=recipe.FIELD_GROUPS,
            columns=reading.columns,
            split="test",
            text_files=getattr(recipe, "text_files", "line"),
            quoting=reading.quoting,
            mapping=_MAPPED_BY_OPTION,
            origins={
                field: f"{run.recipe if run else 'The recipe'} has data.columns: {{{field}: {column}}}."
                for field, column in reading.columns.items()
                if field not in columns
            },
        )
        if reading.columns:
            logger.info("columns: %s", ", ".join(f"{field} {column!r}" for field, column in reading.columns.items()))
        options = reading_options(recipe, reading=reading)
        return SplitRows(source, "test", read_fields=recipe.READ_FIELDS, options=options), ", ".join(data)
    assert run is not None, "a model that is no run was refused without data"
    splits = open_splits(recipe)
    name: Split = "test" if "test" in splits else "validation"
    check_sources(run, {name: splits[name].source.fingerprint()})
    if name == "validation":
        logger.warning("the recipe has no data.test: these are the validation rows, which picked the checkpoint")
    return splits[name], f"{name} rows of {run.folder}"


def _write(run: Run, evaluation: Evaluation, *, name: str, references: Sequence[Any]) -> None:
    folder = run.folder / "evaluation"
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{name}.json", evaluation_record(evaluation))
    if evaluation.predictions:
        pairs = zip(evaluation.predictions, references, strict=True)
        lines = (json.dumps({"prediction": p, "reference": r}, ensure_ascii=False) + "\n" for p, r in pairs)
        replace_file(folder / f"{name}.predictions.jsonl", "".join(lines).encode())

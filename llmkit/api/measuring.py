"""`evaluate`: a model on rows, or predictions on references."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.api.preparing import Split, SplitRows, check_metrics_fit, open_splits, reading_options
from llmkit.api.resuming import check_sources
from llmkit.api.texts import read_column
from llmkit.atomic import replace_file
from llmkit.data.sources import open_rows
from llmkit.errors import UsageError, nearest
from llmkit.evaluation.metrics import METRICS, RougeTokenizer, figures_of, score_texts
from llmkit.recipe.blocks import Recipe
from llmkit.recipe.loading import load_recipe
from llmkit.runs.folder import Run, finished_runs, open_run, write_json
from llmkit.tasks import RECIPES, TASKS
from llmkit.tasks.classification import keys_of

if TYPE_CHECKING:
    from llmkit.models.loaded import Head, LoadedModel
    from llmkit.tasks.base import Scores

_log = logging.getLogger("llmkit")


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on what."""

    model: str | None
    """None where files alone were compared."""
    data: str
    rows: int
    scores: Scores
    predictions: list[Any]


def score_files(
    predictions: str | Path,
    references: str | Path,
    *,
    metrics: Sequence[str],
    column: str | None = None,
    rouge_tokenizer: RougeTokenizer = "auto",
) -> Evaluation:
    """Figures of predicted texts against reference texts, row by row.

    Args:
        predictions: one a line in .txt; elsewhere the column `prediction`, `text`, `label` or `summary`.
        references: as predictions, the column `reference`, `text`, `label` or `summary`.
        column: the column of both, where it has another name.
    Raises:
        UsageError: an unknown metric, or none.
        DataError: files that cannot be read, or have different numbers of rows.
    """
    if not metrics:
        raise UsageError(f"give --metric, once or more: {', '.join(METRICS)}.")
    own = (column,) if column else ()
    predicted = read_column(predictions, columns=own or ("prediction", "text", "label", "summary"))
    wanted = read_column(references, columns=own or ("reference", "text", "label", "summary"))
    scores = score_texts(metrics, predicted, wanted, rouge_tokenizer=rouge_tokenizer)
    return Evaluation(None, f"{predictions} against {references}", len(wanted), scores, predicted)


def evaluate_model(
    model: str | None = None,
    *,
    data: Sequence[str] | None = None,
    columns: dict[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    rouge_tokenizer: RougeTokenizer = "auto",
) -> Evaluation:
    """Figures of a model on the rows of `data`, or of a run on its recipe's test rows, else its validation rows.

    A run's result is also written to its folder `evaluation/`: the figures, and every prediction beside its
    reference.

    Args:
        model: a run, a folder or a hub model; without it, the newest finished run.
        data: sources as in a recipe.
        columns: role -> column; a run's own recipe gives the default.
    Raises:
        UsageError: no rows are named, and the model is not a run.
        DataError: rows that the task cannot use, or a run's data that have changed since.
    """
    figures_of(metrics or ())  # an unknown name is told now, not after the model has read everything
    from accelerate import Accelerator

    from llmkit.evaluation.measure import measure
    from llmkit.inference.engines.transformers import TransformersEngine

    run = _run_of(model)
    recipe = load_recipe(run.recipe, kinds=RECIPES).recipe if run else None
    head = TASKS[type(recipe)].HEAD if recipe else None
    loaded = _open(str(run.folder) if run else str(model), head)
    if recipe is None:
        if not data:
            raise UsageError(f"{loaded.name} is not a run, so it has no rows of its own. Give --data.")
        recipe = _recipe_for(loaded, data)
    _check_request(recipe, columns=columns, metrics=metrics)
    rows, described = _rows(recipe, run, data=data, columns=columns)
    task = TASKS[type(recipe)](recipe, loaded)
    examples = task.encode(rows)
    accelerator = Accelerator()
    engine = TransformersEngine(loaded, device=accelerator.device)
    wanted = metrics or recipe.evaluation.metrics
    scores, predictions = measure(
        task, examples, engine=engine, accelerator=accelerator, metrics=wanted, rouge_tokenizer=rouge_tokenizer
    )
    evaluation = Evaluation(str(run.folder) if run else loaded.name, described, examples.rows, scores, predictions)
    if run is not None:
        _write(run, evaluation, name="data" if data else described.split()[0], references=examples.references)
    return evaluation


def _run_of(model: str | None) -> Run | None:
    if model is None:
        runs = finished_runs()
        if not runs:
            raise UsageError("no finished run here. Give --model, or --predictions with --references.")
        _log.info("model: %s, the newest finished run", runs[0].folder)
        return runs[0]
    return open_run(model) if (Path(model) / "run.json").exists() else None


def _open(name: str, head: Head | None) -> LoadedModel:
    """The model with this head, or with its own."""
    from llmkit.api.using import own_verb, use_of
    from llmkit.models.loading import load_model
    from llmkit.models.places import find_model

    return load_model(name, head=head or use_of(own_verb(find_model(name).config)).head)


def _recipe_for(loaded: LoadedModel, data: Sequence[str]) -> Recipe:
    """The task of a model that is no run, with the defaults of its recipe and what the model remembers."""
    from llmkit.api.using import own_verb, use_of

    task = use_of(own_verb(loaded.model.config.to_dict())).tasks[0]
    written: dict[str, Any] = {"recipe": 1, "task": task, "model": loaded.name, "data": {"train": list(data)}}
    if task == "classification":
        written.update(keys_of(loaded))
    if task == "summarization" and loaded.window < 512:
        written["max_source_tokens"] = loaded.window
    return RECIPES[task].model_validate(written)


def _check_request(recipe: Recipe, *, columns: Mapping[str, str] | None, metrics: Sequence[str] | None) -> None:
    """Refuse what the task would pass over without a word."""
    unknown = [role for role in columns or () if role not in recipe.roles]
    if unknown:
        hint = nearest(unknown[0], recipe.roles)
        raise UsageError(
            f"--column: {unknown[0]!r} is not a role of {recipe.task}.{hint} Use {', '.join(recipe.roles)}."
        )
    if metrics and not recipe.own_metrics:
        raise UsageError(f"--metric: {recipe.task} has no predictions to measure, only its loss. Leave it out.")
    check_metrics_fit(recipe, metrics or (), key="--metric")


def _rows(
    recipe: Recipe, run: Run | None, *, data: Sequence[str] | None, columns: dict[str, str] | None
) -> tuple[SplitRows, str]:
    """The rows to measure on, and what to call them."""
    if data:
        source = open_rows(
            list(data),
            roles=recipe.roles,
            optional=recipe.OPTIONAL_ROLES,
            columns=columns or recipe.data.columns,
            split="test",
            text_files=getattr(recipe, "text_files", "line"),
            mapping="Map it with --column {role}={column}",
        )
        return SplitRows(
            source, "test", read_role=recipe.READ_ROLES[0], options=reading_options(recipe, columns=columns)
        ), ", ".join(data)
    assert run is not None, "a model that is no run was refused without data"
    splits = open_splits(recipe)
    name: Split = "test" if "test" in splits else "validation"
    check_sources(run, {name: splits[name].source.fingerprint()})
    if name == "validation":
        _log.warning("the recipe has no data.test: these are the validation rows, which picked the checkpoint")
    return splits[name], f"{name} rows of {run.folder}"


def _write(run: Run, evaluation: Evaluation, *, name: str, references: Sequence[Any]) -> None:
    folder = run.folder / "evaluation"
    folder.mkdir(exist_ok=True)
    content: dict[str, Any] = {
        "data": evaluation.data,
        "rows": evaluation.rows,
        "figures": evaluation.scores.figures,
        "details": evaluation.scores.details,
    }
    write_json(folder / f"{name}.json", content)
    if evaluation.predictions:
        pairs = zip(evaluation.predictions, references, strict=True)
        lines = (json.dumps({"prediction": p, "reference": r}, ensure_ascii=False) + "\n" for p, r in pairs)
        replace_file(folder / f"{name}.predictions.jsonl", "".join(lines).encode())

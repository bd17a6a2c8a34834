"""`evaluate`: a model on rows, or predictions on references."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.api.preparing import Split, SplitRows, open_splits, reading_options
from llmkit.api.resuming import check_sources
from llmkit.api.texts import read_column
from llmkit.atomic import replace_file
from llmkit.data.rows import Row
from llmkit.data.sources import open_rows
from llmkit.errors import UsageError, nearest
from llmkit.evaluation.metrics import RougeTokenizer, figures_of, score_texts
from llmkit.recipe.blocks import Recipe
from llmkit.recipe.loading import load_recipe
from llmkit.runs.folder import Run, finished_runs, open_run, write_json
from llmkit.tasks import RECIPES, TASKS

if TYPE_CHECKING:
    from llmkit.data.examples import Examples
    from llmkit.evaluation.comparing import Comparison
    from llmkit.models.loaded import Head, LoadedModel
    from llmkit.tasks.base import Scores, Task

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
    comparison: Comparison | None = None
    """With the task's baselines, where that was asked for."""


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
        raise UsageError("give --metric, once or more: accuracy, precision, recall, f1, confusion, rouge.")
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
    baseline: bool = False,
) -> Evaluation:
    """Figures of a model on the rows of `data`, or of a run on its recipe's test rows, else its validation rows.

    A run's result is also written to its folder `evaluation/`: the figures, and every prediction beside its
    reference.

    Args:
        model: a run, a folder or a hub model; without it, the newest finished run.
        data: sources as in a recipe.
        columns: role -> column; a run's own recipe gives the default.
        baseline: measure what costs nothing on the same rows, too, trained on the run's training rows.
    Raises:
        UsageError: no rows are named, and the model is not a run; or a baseline must be trained, and it is not.
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
    train = _baseline_rows(recipe, run) if baseline else None
    rows, described = _rows(recipe, run, data=data, columns=columns)
    task = TASKS[type(recipe)](recipe, loaded)
    examples = task.encode(rows)
    accelerator = Accelerator()
    engine = TransformersEngine(loaded, device=accelerator.device)
    wanted = metrics or recipe.metrics
    scores, predictions = measure(
        task, examples, engine=engine, accelerator=accelerator, metrics=wanted, rouge_tokenizer=rouge_tokenizer
    )
    comparison = None
    if train is not None:
        comparison = _compared(
            task, scores, train=train, rows=rows, examples=examples, metrics=wanted, rouge_tokenizer=rouge_tokenizer
        )
    name = str(run.folder) if run else loaded.name
    evaluation = Evaluation(name, described, examples.rows, scores, predictions, comparison)
    if run is not None:
        _write(run, evaluation, name="data" if data else described.split()[0], references=examples.references)
    return evaluation


def baselines_record(evaluation: Evaluation) -> dict[str, Any]:
    """For JSON: what the model was held against, or nothing where that was not asked for."""
    held_against = evaluation.comparison
    if held_against is None:
        return {}
    baselines = {one.name: {"title": one.title, "figures": one.figures} for one in held_against.baselines}
    verdict = {"figure": held_against.figure, "better": held_against.better, "text": held_against.verdict}
    return {"baselines": baselines, "verdict": verdict, "baseline_train_rows": held_against.train_rows}


def _run_of(model: str | None) -> Run | None:
    if model is None:
        runs = finished_runs()
        if not runs:
            raise UsageError("no finished run here. Give --model, or --predictions with --references.")
        _log.info("model: %s, the newest finished run", runs[0].folder)
        return runs[0]
    return open_run(model) if (Path(model) / "run.json").exists() else None


def _open(name: str, head: Head | None) -> LoadedModel:
    """The model with this head, or with its family's."""
    from llmkit.models.loading import family_of, load_model
    from llmkit.models.places import find_model

    heads: dict[str, Head] = {
        "bert": "classification",
        "gpt2": "causal-lm",
        "lstm": "classification",
        "t5": "seq2seq-lm",
    }
    return load_model(name, head=head or heads[family_of(find_model(name))])


def _recipe_for(loaded: LoadedModel, data: Sequence[str]) -> Recipe:
    """The task of a model that is no run, with the defaults of its recipe."""
    tasks = {"bert": "classification", "gpt2": "causal-lm", "lstm": "classification", "t5": "summarization"}
    task = tasks[loaded.family]
    written = {"recipe": 1, "task": task, "model": loaded.name, "data": {"train": list(data)}}
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


def _baseline_rows(recipe: Recipe, run: Run | None) -> Iterable[Row]:
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
        return compare_loss(task, scores.figures, train=task.encode(train), examples=examples)
    comparison = compare_predictions(
        task,
        scores.figures,
        train=train,
        rows=list(rows),
        examples=examples,
        metrics=metrics,
        rouge_tokenizer=rouge_tokenizer,
    )
    if comparison is None:
        _log.warning("--baseline: %s has none for these rows and metrics", task.recipe.task)
    return comparison


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
        **baselines_record(evaluation),
    }
    write_json(folder / f"{name}.json", content)
    if evaluation.predictions:
        pairs = zip(evaluation.predictions, references, strict=True)
        lines = (json.dumps({"prediction": p, "reference": r}, ensure_ascii=False) + "\n" for p, r in pairs)
        replace_file(folder / f"{name}.predictions.jsonl", "".join(lines).encode())

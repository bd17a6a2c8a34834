"""`evaluate`: a model on rows, or predictions on references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.api.evaluation_result import Evaluation, row_facts, save_evaluation
from llmkit.api.evaluation_rows import check_fields, evaluation_rows
from llmkit.api.neighbours import evaluate_embeddings
from llmkit.api.reporting import finish_evaluation
from llmkit.data.bad_rows import json_lines, reason_counts
from llmkit.data.given import given_names
from llmkit.errors import UsageError
from llmkit.evaluation.metrics import METRICS, RougeTokenizer, score_names_of
from llmkit.evaluation.uncertainty.score_intervals import score_intervals
from llmkit.models.families import LABELLED_HEADS
from llmkit.recipe.blocks import Quoting
from llmkit.recipe.recipe import Recipe
from llmkit.training.metric_checks import check_metrics_fit
from llmkit.training.splits import reading_as

if TYPE_CHECKING:
    from llmkit.models.pooling import Pooling


def evaluate_model(
    model: str | None = None,
    *,
    data: Sequence[str] | None = None,
    columns: Mapping[str, str | tuple[str, ...]] | None = None,
    quoting: Quoting | None = None,
    skip_bad_rows: bool | None = None,
    metrics: Sequence[str] | None = None,
    rouge_tokenizer: RougeTokenizer = "auto",
    pooling: Pooling | None = None,
    baseline: bool = False,
    report: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Evaluation:
    """Scores of a model on the rows of `data`, or of a run on its recipe's test rows, else its validation rows.

    A run's result is also written to its folder `evaluation/`: the scores, and every prediction with its
    reference.

    Args:
        model: a run, a folder or a hub model; without it, the newest finished run.
        data: sources as in a recipe.
        columns: field -> column, for `data`, or a tuple of columns of 0 and 1 for many labels; the run's recipe maps the
            other fields.
        quoting: what quotation marks mean in .csv and .tsv files of `data`; without it, as in the run's recipe.
        skip_bad_rows: leave out rows of `data` that the task cannot use, with counts; otherwise they are an error, which
            lists them. Without it, as in the run's recipe.
        pooling: for the metric `neighbour_recall`, which measures vectors; see `evaluate_embeddings`.
        baseline: compare with the task's baselines, trained on the run's training rows.
        report: called during the work with its stage, `losses` or `predictions`, the number of sequences done in it, and of
            all.
    Raises:
        UsageError: no rows are named, and the model is not a run; or a baseline must be trained, and it is not; or
            columns, quoting or skip_bad_rows without data.
        DataError: rows that the task cannot use, or a run's data that have changed since training.
    """
    data = None if data is None else given_names(data, what="data")
    metrics = None if metrics is None else given_names(metrics, what="metrics")
    if _is_of_vectors(metrics, pooling=pooling, baseline=baseline):
        if skip_bad_rows is not None:
            raise UsageError("--skip-bad-rows: not for neighbour_recall. Correct the rows, or remove them.")
        return evaluate_embeddings(model, data=data, columns=columns, quoting=quoting or "auto", pooling=pooling)
    score_names_of(metrics or ())  # report an unknown name before the model is loaded
    return _evaluate(
        model,
        _Request(
            data=data,
            columns=columns or {},
            quoting=quoting,
            skip_bad_rows=skip_bad_rows,
            metrics=metrics,
            rouge_tokenizer=rouge_tokenizer,
            baseline=baseline,
            report=report,
        ),
    )


@dataclass(frozen=True)
class _Request:
    """The arguments of `evaluate_model` for a model with predictions."""

    data: Sequence[str] | None
    columns: Mapping[str, str | tuple[str, ...]]
    quoting: Quoting | None
    skip_bad_rows: bool | None
    metrics: Sequence[str] | None
    rouge_tokenizer: RougeTokenizer
    baseline: bool
    report: Callable[[str, int, int], None]

    def check(self, recipe: Recipe) -> None:
        """Refuse options that the task would ignore."""
        check_fields(self.columns, recipe.column_types, of=recipe.task, label_sets=recipe.label_sets())
        if self.metrics and not recipe.default_metrics:
            raise UsageError(f"--metric: {recipe.task} has no predictions to measure, only its loss. Leave it out.")
        check_metrics_fit(recipe, self.metrics or (), key="--metric")
        if not self.data and (self.columns or self.quoting or self.skip_bad_rows is not None):
            option = "--column" if self.columns else "--quoting" if self.quoting else "--skip-bad-rows"
            raise UsageError(f"{option}: the run's own rows are read as its recipe says. Give --data, or leave it out.")


def _evaluate(model: str | None, request: _Request) -> Evaluation:
    from llmkit.api.evaluated_model import encode_rows, measure_examples, open_model
    from llmkit.evaluation.uncertainty.bootstrap import count_clusters

    data, columns, rouge_tokenizer = request.data, request.columns, request.rouge_tokenizer
    run, recipe, loaded = open_model(model, data=data)
    request.check(recipe)
    labels = loaded.labels if recipe.HEAD in LABELLED_HEADS else None
    train = None
    if request.baseline:
        from llmkit.api.baselines import baseline_rows, compare_with_baselines

        train = baseline_rows(recipe, run, labels=labels)
    reading = reading_as(recipe, columns=columns, quoting=request.quoting, skip_bad_rows=request.skip_bad_rows)
    rows, description = evaluation_rows(recipe, run, labels=labels, data=data, columns=columns, reading=reading)
    task, examples = encode_rows(recipe, loaded, rows)
    metrics = request.metrics or task.recipe.metrics  # of the task's recipe, in which `auto` is resolved
    measured = measure_examples(task, examples, metrics=metrics, rouge_tokenizer=rouge_tokenizer, report=request.report)
    comparison = None
    if train is not None:
        comparison = compare_with_baselines(
            task,
            measured,
            train=train,
            rows=rows,
            examples=examples,
            metrics=metrics,
            rouge_tokenizer=rouge_tokenizer,
        )
    name = str(run.folder) if run else loaded.name
    mapped = reading.columns if data else None
    bad_rows = reason_counts([rows.source.left_out]) if reading.skip_bad_rows else None
    scores, predictions, losses = measured
    evaluation = Evaluation(
        name,
        description,
        examples.rows,
        scores,
        predictions,
        comparison,
        mapped or None,
        bad_rows,
        intervals=score_intervals(scores, clusters=examples.clusters),
        clusters=None if examples.clusters is None else count_clusters(examples.clusters),
    )
    if run is not None:
        file_name = "data" if data else description.split()[0]
        left_out = None if bad_rows is None else json_lines(rows.source.bad_rows())
        facts = row_facts(examples, losses)
        save_evaluation(run, evaluation, name=file_name, references=examples.references, facts=facts, bad_rows=left_out)
        finish_evaluation(run, rows, name=file_name, recipe=recipe)
    return evaluation


def _is_of_vectors(metrics: Sequence[str] | None, *, pooling: Pooling | None, baseline: bool) -> bool:
    """Whether the only requested metric measures vectors.

    Raises:
        UsageError: an option that does not go with the metrics.
    """
    if metrics and len(metrics) == 1 and metrics[0] in METRICS and METRICS[metrics[0]].of_vectors:
        if baseline:
            raise UsageError(
                "--baseline: neighbour_recall has none; its scores include the chance level. Leave it out."
            )
        return True
    if pooling is not None:
        raise UsageError("--pooling is for the metric neighbour_recall, which measures vectors. Leave it out.")
    return False

"""`llmkit evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from llmkit.cli.evaluation_report import print_evaluation
from llmkit.cli.gates import FailUnder, Margin, NoWorseThan, raise_failed, read_gates
from llmkit.cli.scoring_options import (
    Cluster,
    Json,
    Labels,
    Language,
    Markdown,
    PredictionColumn,
    Quoting,
    ReferenceColumn,
    RougeTokenizer,
    label_names,
    output_form,
)
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Evaluation, Gate, Gates

ModelName = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A run, a model folder or a hub id. Default: the newest finished run."),
]
Data = Annotated[
    list[str] | None,
    typer.Option(help="Rows to evaluate on. Default: the run's own test rows, else its validation rows."),
]
Predictions = Annotated[str | None, typer.Option(metavar="FILE", help="Predictions to score without a model.")]
References = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE", help="References for --predictions. Can be repeated, if rows have several."),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(help="A metric of docs/metrics.md, such as accuracy or rouge, or evaluate:NAME. Can be repeated."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[ROLE=]COLUMN",
        help="With a model, the column to read for a name the task expects, such as text=body. "
        "With --predictions and --references, the column of both files.",
    ),
]
SkipBadRows = Annotated[
    bool | None,
    typer.Option(
        "--skip-bad-rows/--no-skip-bad-rows",
        help="Leave out rows of --data that the task cannot use, with counts. Default: as the run's recipe says, else an "
        "error that lists them.",
    ),
]
Pooling = Annotated[
    Literal["mean", "first", "max", "mean_sqrt_len", "weightedmean", "lasttoken"] | None,
    typer.Option(help="For neighbour_recall: how the vectors of a text's tokens become one, as in llmkit embed."),
]
Baseline = Annotated[bool, typer.Option("--baseline", help="Compare the model with simple baselines on the same rows.")]


def evaluate(
    model: ModelName = None,
    data: Data = None,
    predictions: Predictions = None,
    references: References = None,
    metric: Metrics = None,
    column: Columns = None,
    prediction_column: PredictionColumn = None,
    reference_column: ReferenceColumn = None,
    quoting: Quoting = None,
    skip_bad_rows: SkipBadRows = None,
    rouge_tokenizer: RougeTokenizer = None,
    language: Language = None,
    label: Labels = None,
    cluster: Cluster = None,
    pooling: Pooling = None,
    baseline: Baseline = False,
    fail_under: FailUnder = None,
    no_worse_than: NoWorseThan = None,
    margin: Margin = None,
    as_json: Json = False,
    as_markdown: Markdown = False,
) -> None:
    """Evaluate a model on rows, or predictions against references."""
    form = output_form(as_json=as_json, as_markdown=as_markdown)
    gates = read_gates(fail_under, no_worse_than, margin)
    _check_pair(predictions, references)
    files = _FileOptions(prediction_column, reference_column, language, label, cluster)
    if predictions is not None and references:
        _check_file_options(model or data, baseline, pooling, column, skip_bad_rows)
        evaluation, results = _score_files(
            predictions,
            references,
            files,
            gates=gates,
            column=column[0] if column else None,
            scoring={"metrics": metric or (), "rouge_tokenizer": rouge_tokenizer or "auto", "language": language},
            quoting=quoting or "auto",
        )
    else:
        _check_model_options(files)
        from llmkit.api import evaluate_model, model_gates
        from llmkit.cli.progress_bar import progress_bar

        with progress_bar() as report:
            evaluation = evaluate_model(
                model,
                data=data,
                columns=_columns(column),
                quoting=quoting,
                skip_bad_rows=skip_bad_rows,
                metrics=metric,
                rouge_tokenizer=rouge_tokenizer or "auto",
                pooling=pooling,
                baseline=baseline,
                report=report,
            )
        results = [] if gates is None else model_gates(gates, evaluation, given_data=bool(data))
    print_evaluation(evaluation, gates=results, form=form)
    raise_failed(results)


COMMANDS = (evaluate,)


def _check_pair(predictions: str | None, references: list[str] | None) -> None:
    """
    Raises:
        UsageError: only one of them.
    """
    if (predictions is None) != (not references):
        raise UsageError("--predictions and --references must be given together.")


class _FileOptions(NamedTuple):
    """The options that apply only to --predictions."""

    prediction_column: str | None
    reference_column: str | None
    language: str | None
    label: list[str] | None
    cluster: str | None


def _score_files(
    predictions: str,
    references: list[str],
    files: _FileOptions,
    *,
    gates: Gates | None,
    column: str | None,
    scoring: Mapping[str, Any],
    quoting: Literal["auto", "csv", "none"],
) -> tuple[Evaluation, list[Gate]]:
    from llmkit.api import file_gates, score_files

    reading: dict[str, Any] = {
        "cluster": files.cluster,
        "quoting": quoting,
        "label_names": label_names(files.label),
    }
    evaluation = score_files(
        predictions,
        references,
        column=column,
        prediction_column=files.prediction_column,
        reference_column=files.reference_column,
        **reading,
        **scoring,
    )
    if gates is None:
        return evaluation, []
    columns = {
        "prediction_column": files.prediction_column or column,
        "reference_column": files.reference_column or column,
        **reading,
    }
    return evaluation, file_gates(
        gates, evaluation, predictions=predictions, references=references, columns=columns, **scoring
    )


def _check_file_options(
    model: object, baseline: bool, pooling: str | None, column: list[str] | None, skip_bad_rows: bool | None
) -> None:
    """
    Raises:
        UsageError: an option that cannot be combined with --predictions.
    """
    if model:
        raise UsageError("give a model with --data, or --predictions with --references, not both.")
    if baseline:
        raise UsageError("--baseline needs a model: its training rows train the baseline.")
    if pooling is not None:
        raise UsageError("--pooling applies only to the metric neighbour_recall of a model. Remove it.")
    if column and len(column) > 1:
        raise UsageError(
            "--column: give one name, the column of both files, or use --prediction-column and --reference-column."
        )
    if skip_bad_rows is not None:
        raise UsageError("--skip-bad-rows: applies to the rows of a model's --data. Remove it.")


def _check_model_options(files: _FileOptions) -> None:
    """
    Raises:
        UsageError: an option that works only with --predictions.
    """
    if files.label:
        raise UsageError("--label works only with --predictions. A model's config names its labels (id2label).")
    if files.cluster is not None:
        raise UsageError("--cluster works only with --predictions. With a model, write data.cluster in its recipe.")
    if files.language is not None:
        raise UsageError("--language works only with --predictions. A model's task knows its language.")
    if files.prediction_column is not None or files.reference_column is not None:
        option = "--reference-column" if files.prediction_column is None else "--prediction-column"
        raise UsageError(
            f"{option} works only with --predictions. With a model, name columns with --column ROLE=COLUMN."
        )


def _columns(pairs: list[str] | None) -> dict[str, str | tuple[str, ...]] | None:
    if not pairs:
        return None
    columns: dict[str, list[str]] = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not (field and equals and column):
            raise UsageError("--column with a model must be ROLE=COLUMN, such as text=body.")
        if column not in columns.setdefault(field, []):
            columns[field].append(column)
    return {field: tuple(names) if len(names) > 1 else names[0] for field, names in columns.items()}

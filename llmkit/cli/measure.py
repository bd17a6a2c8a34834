"""`llmkit evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmkit.cli.evaluation_report import print_evaluation
from llmkit.cli.gates import FailUnder, Margin, NoWorseThan, raise_failed, read_gates
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.api import Gate

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
PredictionColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of --predictions. Default: detected.")
]
ReferenceColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of --references. Default: detected.")
]
Quoting = Annotated[
    Literal["auto", "csv", "none"] | None,
    typer.Option(
        help="Quotes in .csv and .tsv files: csv treats them as cell delimiters, none as text. "
        "Default: the run's recipe, else auto."
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
RougeTokenizer = Annotated[
    Literal["auto", "rouge-score", "unicode", "characters"], typer.Option(help="How ROUGE splits texts into words.")
]
Language = Annotated[
    str | None,
    typer.Option(
        metavar="CODE",
        help="With --predictions, the references' language, such as ja, for BLEU and TER. Default: by their script.",
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL=NAME",
        help="With --predictions, the name of a label that the files write differently, such as LABEL_0=negative. "
        "Can be repeated.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="With --predictions, the column that says which rows belong together, such as the document of each "
        "question. Intervals are then by bootstrap over these clusters. Default: each row on its own.",
    ),
]
Pooling = Annotated[
    Literal["mean", "first", "max", "mean_sqrt_len", "weightedmean", "lasttoken"] | None,
    typer.Option(help="For neighbour_recall: how the vectors of a text's tokens become one, as in llmkit embed."),
]
Baseline = Annotated[bool, typer.Option("--baseline", help="Compare the model with simple baselines on the same rows.")]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON object, with all details.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Write a Markdown table of the scores.")]


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
    rouge_tokenizer: RougeTokenizer = "auto",
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
    if as_json and as_markdown:
        raise UsageError("--json and --markdown: choose one.")
    gates = read_gates(fail_under, no_worse_than, margin)
    results: list[Gate] = []
    if (predictions is None) != (not references):
        raise UsageError("--predictions and --references must be given together.")
    if predictions is not None and references:
        _check_file_options(model=model or data, baseline=baseline, pooling=pooling, column=column)
        if skip_bad_rows is not None:
            raise UsageError("--skip-bad-rows: applies to the rows of a model's --data. Remove it.")
        from llmkit.api import file_gates, score_files

        evaluation = score_files(
            predictions,
            references,
            metrics=metric or (),
            column=column[0] if column else None,
            prediction_column=prediction_column,
            reference_column=reference_column,
            cluster=cluster,
            quoting=quoting or "auto",
            rouge_tokenizer=rouge_tokenizer,
            language=language,
            label_names=label_names(label),
        )
        if gates is not None:
            results = file_gates(
                gates,
                evaluation,
                predictions=predictions,
                references=references,
                metrics=metric or (),
                rouge_tokenizer=rouge_tokenizer,
                language=language,
                columns={
                    "prediction_column": prediction_column or (column[0] if column else None),
                    "reference_column": reference_column or (column[0] if column else None),
                    "cluster": cluster,
                    "quoting": quoting or "auto",
                    "label_names": label_names(label),
                },
            )
    else:
        _check_model_options(
            prediction_column=prediction_column,
            reference_column=reference_column,
            language=language,
            label=label,
            cluster=cluster,
        )
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
                rouge_tokenizer=rouge_tokenizer,
                pooling=pooling,
                baseline=baseline,
                report=report,
            )
        if gates is not None:
            results = model_gates(gates, evaluation, given_data=bool(data))
    print_evaluation(evaluation, gates=results, form="json" if as_json else "markdown" if as_markdown else "text")
    raise_failed(results)


COMMANDS = (evaluate,)


def _check_file_options(*, model: object, baseline: bool, pooling: str | None, column: list[str] | None) -> None:
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


def _check_model_options(
    *,
    prediction_column: str | None,
    reference_column: str | None,
    language: str | None,
    label: list[str] | None,
    cluster: str | None,
) -> None:
    """
    Raises:
        UsageError: an option that works only with --predictions.
    """
    if label:
        raise UsageError("--label works only with --predictions. A model's config names its labels (id2label).")
    if cluster is not None:
        raise UsageError("--cluster works only with --predictions. With a model, write data.cluster in its recipe.")
    if language is not None:
        raise UsageError("--language works only with --predictions. A model's task knows its language.")
    if prediction_column is not None or reference_column is not None:
        option = "--reference-column" if prediction_column is None else "--prediction-column"
        raise UsageError(
            f"{option} works only with --predictions. With a model, name columns with --column ROLE=COLUMN."
        )


def label_names(pairs: list[str] | None) -> dict[str, str]:
    names: dict[str, str] = {}
    for pair in pairs or ():
        label, equals, name = pair.partition("=")
        if not (label and equals and name):
            raise UsageError(f"--label {pair}: write LABEL=NAME, such as LABEL_0=negative.")
        if names.setdefault(label, name) != name:
            raise UsageError(f"--label: {label} has two names, {names[label]} and {name}. Give one.")
    return names


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

"""`evaluate` without a model: the predictions of one file against the references of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmkit.api.choice_values import as_indexes
from llmkit.api.evaluation_result import Evaluation
from llmkit.api.value_columns import reference_columns_of
from llmkit.api.value_file import ValueFile
from llmkit.data.clusters import NO_CLUSTERS
from llmkit.data.given import given_names
from llmkit.errors import DataError, UsageError, nearest
from llmkit.evaluation.label_names import LABEL_KINDS, check_labels_match, rename_labels, warn_of_alike
from llmkit.evaluation.metrics import RougeTokenizer, check_rows, merge_scores, score_names_of, score_texts, values_of
from llmkit.evaluation.multi_hot import with_names
from llmkit.evaluation.uncertainty.score_intervals import score_intervals
from llmkit.evaluation.values import LABEL_SET_KINDS, Value, values_for
from llmkit.recipe.blocks import Quoting
from llmkit.recipe.languages import language_code


def score_files(
    predictions: str | Path,
    references: str | Path | Sequence[str | Path],
    *,
    metrics: Sequence[str],
    column: str | None = None,
    prediction_column: str | None = None,
    reference_column: str | None = None,
    cluster: str | None = None,
    quoting: Quoting = "auto",
    rouge_tokenizer: RougeTokenizer = "auto",
    language: str | None = None,
    label_names: Mapping[str, str] | None = None,
) -> Evaluation:
    """Scores of predictions against references, row by row.

    A plain text file has a value in each line. In a file with columns, the column is the one in which the
    commands write such values, or the data sets of the tasks have them; `Evaluation.columns` has its name.

    Args:
        references: a file, or several with a reference of each row in every file. A value that is a list of texts, too,
            is several references of its row.
        column: the column of both files.
        prediction_column: the column of the predictions.
        reference_column: the column of the references.
        cluster: a column, in the predictions or else in the references, that says which rows belong together, such as
            the document of each question: the intervals then take clusters for independent, not rows. Without it, the
            clusters in a file of predictions that `evaluate` wrote; `none` for independent rows.
        quoting: what quotation marks mean in .csv and .tsv files, as `data.quoting` in a recipe.
        language: code of the references' language, for BLEU and TER; without it, their script decides.
        label_names: label -> its name in this comparison, for labels that the files write differently.
    Raises:
        UsageError: an unknown metric, or none; or several possible columns; or no file has the column `cluster`.
        DataError: files that cannot be read, have different numbers of rows, or values that a metric cannot compare.
    """
    language = None if language is None else _language_code(language)
    metrics = _checked_metrics(metrics)
    paths = [references] if isinstance(references, str | Path) else list(references)
    prediction_file, reference_files = _files(
        predictions, paths, metrics, columns=(prediction_column, reference_column), shared=column, quoting=quoting
    )
    sides, columns = _read_sides(prediction_file, reference_files)
    compared = {name: _compared(name, sides, label_names=label_names or {}) for name in metrics}
    if len(sides) == 2:
        _warn_of_alike_labels(sides, compared)
    scores = merge_scores(
        score_texts([name], *compared[name], rouge_tokenizer=rouge_tokenizer, language=language) for name in metrics
    )
    clusters = _clusters(cluster, prediction_file, reference_files, columns)
    return Evaluation(
        None,
        f"{predictions} against {', '.join(map(str, paths))}",
        len(sides[0]),
        scores,
        compared[metrics[0]][0],
        columns=columns,
        intervals=score_intervals(scores, clusters=clusters),
        clusters=_count(clusters),
    )


def _checked_metrics(metrics: Sequence[str]) -> list[str]:
    """The names, all known, before the files are read."""
    names = given_names(metrics, what="metrics")
    if not names:
        raise UsageError("give --metric, once or more, such as accuracy, f1 or rouge.")
    score_names_of(names)
    return names


def _count(clusters: list[str | None] | None) -> int | None:
    from llmkit.evaluation.uncertainty.bootstrap import count_clusters

    return None if clusters is None else count_clusters(clusters)


def _clusters(
    cluster: str | None,
    prediction_file: ValueFile,
    reference_files: Sequence[ValueFile],
    columns: Mapping[str, str | None],
) -> list[str | None] | None:
    """The cluster of each row; without the name of a column, that in a file of predictions that `evaluate` wrote."""
    if cluster == NO_CLUSTERS:
        return None
    if cluster is None:
        return prediction_file.own_clusters(column=columns["predictions"])
    files = [(prediction_file, columns["predictions"]), *((file, columns["references"]) for file in reference_files)]
    for file, column in files:
        clusters = file.clusters(cluster, column=column)
        if clusters is not None:
            return clusters
    names = {str(file.path): file.names() if column is not None else [] for file, column in files}
    found = "; ".join(f"{path} has {', '.join(map(repr, columns)) or 'only lines'}" for path, columns in names.items())
    hint = nearest(cluster, {name for columns in names.values() for name in columns})
    raise UsageError(f"--cluster: no column {cluster!r}.{hint} Name one that says which rows belong together; {found}.")


def paired_values(
    predictions: str | Path,
    references: Sequence[str | Path],
    *,
    metrics: Sequence[str],
    prediction_column: str | None = None,
    reference_column: str | None = None,
    quoting: Quoting = "auto",
    label_names: Mapping[str, str] | None = None,
) -> dict[str, tuple[list[Any], list[Any]]]:
    """The predictions and references of each metric, as `score_files` compares them."""
    prediction_file, reference_files = _files(
        predictions, references, metrics, columns=(prediction_column, reference_column), shared=None, quoting=quoting
    )
    sides, _ = _read_sides(prediction_file, reference_files)
    return {name: _compared(name, sides, label_names=label_names or {}) for name in metrics}


def _files(
    predictions: str | Path,
    references: Sequence[str | Path],
    metrics: Sequence[str],
    *,
    columns: tuple[str | None, str | None],
    shared: str | None,
    quoting: Quoting,
) -> tuple[ValueFile, list[ValueFile]]:
    """The file of predictions, and those of references, with what the metrics compare.

    Args:
        columns: of the predictions and of the references.
        shared: the column of both.
    """
    kinds = list(dict.fromkeys(map(values_of, metrics)))
    predicted = ValueFile(
        predictions, "prediction", kinds, file_column=columns[0], shared_column=shared, quoting=quoting
    )
    return predicted, [
        ValueFile(path, "reference", kinds, file_column=columns[1], shared_column=shared, quoting=quoting)
        for path in references
    ]


def _read_sides(
    prediction_file: ValueFile, reference_files: Sequence[ValueFile]
) -> tuple[list[list[Value]], dict[str, str | None]]:
    """The values of the predictions and of each file of references, and the columns as in `Evaluation.columns`."""
    predictions_column = prediction_file.choose(paired=())
    paired = reference_columns_of(predictions_column)
    reference_columns = [file.choose(paired=paired) for file in reference_files]
    sides = [prediction_file.values(predictions_column)]
    sides += [file.values(name) for file, name in zip(reference_files, reference_columns, strict=True)]
    for file, side in zip(reference_files, sides[1:], strict=True):
        if len(sides[0]) != len(side):
            raise DataError(
                f"{prediction_file.path}: {len(sides[0]):,} predictions for the {len(side):,} references of {file.path}; "
                "each row needs one of each."
            )
        check_rows(sides[0], side)
    if prediction_file.has_choices(predictions_column):
        sides[1:] = [as_indexes(side, prediction_file.path, quoting=prediction_file.quoting) for side in sides[1:]]
    return sides, {"predictions": predictions_column, "references": _one_name(reference_columns)}


def _warn_of_alike_labels(
    sides: Sequence[Sequence[Value]], compared: Mapping[str, tuple[list[Any], list[Any]]]
) -> None:
    labelled = next((name for name in compared if values_of(name) in LABEL_KINDS - {"entities"}), None)
    if labelled is not None:
        warn_of_alike(zip(sides, compared[labelled], strict=True))


def _compared(
    metric: str, sides: Sequence[Sequence[Value]], *, label_names: Mapping[str, str]
) -> tuple[list[Any], list[Any]]:
    """The predictions and references of a metric."""
    kind = values_of(metric)
    if kind in LABEL_SET_KINDS and len(sides) == 2:
        sides = with_names(metric, *sides)
    predictions, references = values_for(metric, kind, *sides)
    if kind not in LABEL_KINDS:
        return predictions, references
    predictions, references = rename_labels(predictions, label_names), rename_labels(references, label_names)
    check_labels_match(metric, predictions, references)
    return predictions, references


def _language_code(language: str) -> str:
    try:
        return language_code(language)
    except ValueError as error:
        raise UsageError(f"--language: {error}.") from error


def _one_name(columns: Sequence[str | None]) -> str | None:
    """The column of all files, or their columns in order."""
    return columns[0] if len(set(columns)) == 1 else ", ".join(column or "lines" for column in columns)

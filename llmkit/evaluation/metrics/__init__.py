"""The metrics in one table, and their scores in another. Knows neither tasks nor runs.

A metric is a pure function of gathered texts, predictions and references in the same order, and returns with its scores
the statistics of each row, for their intervals. A score has a scale and a direction, defined once in `score_table.py`. A
new metric is one function in a file of this folder, one line in `METRICS`, and one line in `SCORES` for each score that
it returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmkit.data.given import given_names, given_values, is_missing
from llmkit.errors import DataError, UsageError, nearest
from llmkit.evaluation.metrics.answers import squad
from llmkit.evaluation.metrics.classification import accuracy, confusion, f1, mcc, precision, recall
from llmkit.evaluation.metrics.external import EXTERNAL_PREFIX, compute_external
from llmkit.evaluation.metrics.language_model import bits_per_byte, language_model_scores, loss_statistics, perplexity
from llmkit.evaluation.metrics.multilabel import mean_average_precision
from llmkit.evaluation.metrics.neighbours import neighbour_recall
from llmkit.evaluation.metrics.regression import mse, pearson, spearman
from llmkit.evaluation.metrics.rouge import RougeTokenizer, rouge
from llmkit.evaluation.metrics.score_table import SCORES, ScoreInfo
from llmkit.evaluation.metrics.tagging import entities, tag_accuracy
from llmkit.evaluation.metrics.translation import bleu, chrf, chrf_plus_plus, exact_text, ter
from llmkit.evaluation.values import ValueKind
from llmkit.tasks.base import RowStatistics, Scores

__all__ = [
    "METRICS",
    "SCORES",
    "Metric",
    "RougeTokenizer",
    "ScoreInfo",
    "bits_per_byte",
    "check_rows",
    "compute_external",
    "is_better",
    "language_model_scores",
    "loss_statistics",
    "merge_scores",
    "neighbour_recall",
    "perplexity",
    "rouge",
    "row_statistics",
    "score_names_of",
    "score_texts",
    "values_of",
]


@dataclass(frozen=True)
class Metric:
    """A pure function of (predictions, references), of equal length and at least one row, that returns scores."""

    name: str
    compute: Callable[[Any, Sequence[Any]], Scores]
    scores: tuple[str, ...]
    """Keys of `SCORES` that it returns."""
    values: ValueKind
    """What it compares."""
    of_vectors: bool = False
    """The predictions are (N, D) vectors of the rows, not values to compare."""

    def statistics(self, predictions: Any, references: Sequence[Any]) -> RowStatistics | None:
        """What each row contributes to the scores; None where they are undefined, or there are none."""
        return self.compute(predictions, references).statistics


def _of_probabilities(name: str) -> Callable[[Any, Sequence[Any]], Scores]:
    """A metric of calibration.py, which is imported when it is computed: it needs numpy."""

    def compute(predictions: Any, references: Sequence[Any]) -> Scores:
        from llmkit.evaluation.metrics import calibration

        scores: Scores = getattr(calibration, name)(predictions, references)
        return scores

    return compute


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy, ("accuracy", "majority_share"), "label or labels"),
        Metric("precision", precision, ("precision_micro", "precision_macro"), "label or labels"),
        Metric("recall", recall, ("recall_micro", "recall_macro"), "label or labels"),
        Metric("f1", f1, ("f1_micro", "f1_macro"), "label or labels"),
        Metric("mcc", mcc, ("mcc",), "label"),
        Metric("map", mean_average_precision, ("map",), "labels with probabilities"),
        Metric("ece", _of_probabilities("ece"), ("ece",), "probabilities"),
        Metric("brier", _of_probabilities("brier"), ("brier",), "probabilities"),
        Metric("nll", _of_probabilities("nll"), ("nll",), "probabilities"),
        Metric("selective", _of_probabilities("selective"), ("coverage", "selective_accuracy"), "probabilities"),
        Metric("mse", mse, ("mse",), "number"),
        Metric("pearson", pearson, ("pearson",), "number"),
        Metric("spearman", spearman, ("spearman",), "number"),
        Metric("confusion", confusion, (), "label"),
        Metric("rouge", rouge, ("rouge1", "rouge2", "rougeL", "rougeLsum"), "text"),
        Metric(
            "neighbour_recall",
            neighbour_recall,
            ("neighbour_recall_1", "neighbour_recall_10", "neighbour_chance_1", "neighbour_chance_10"),
            "any",
            of_vectors=True,
        ),
        Metric("entities", entities, ("entity_precision", "entity_recall", "entity_f1", "entity_f1_macro"), "entities"),
        Metric("tag_accuracy", tag_accuracy, ("tag_accuracy", "majority_tag_share"), "tags"),
        Metric("squad", squad, ("exact_match", "answer_f1"), "answer"),
        Metric("bleu", bleu, ("bleu",), "text"),
        Metric("chrf", chrf, ("chrf",), "text"),
        Metric("chrf++", chrf_plus_plus, ("chrf++",), "text"),
        Metric("ter", ter, ("ter",), "text"),
        Metric("exact_text", exact_text, ("exact_text",), "text"),
    )
}


def score_names_of(metric_names: Sequence[str]) -> list[str]:
    """Names of the scores with a known direction that these metrics return; `evaluate:` modules have none.

    Raises:
        UsageError: no metric has this name, or it is one of vectors, which no task predicts.
    """
    _check_metric_names(metric_names)
    return [score for name in metric_names if name in METRICS for score in METRICS[name].scores]


def values_of(metric_name: str) -> ValueKind:
    """What a metric compares; modules of Hugging Face evaluate get the values unchanged."""
    return METRICS[metric_name].values if metric_name in METRICS else "any"


def is_better(name: str, new: float, old: float) -> bool:
    """Whether `new` is better than `old` for the score `name`. Equal is not better; any number is better than NaN.

    Raises:
        UsageError: no score has this name, or it comes from an `evaluate:` module, whose direction is unknown.
    """
    if name.startswith(EXTERNAL_PREFIX):
        raise UsageError(
            f"{name}: whether higher or lower is better is unknown for scores of evaluate modules; "
            f"select the best checkpoint by one of {', '.join(SCORES)}."
        )
    if name not in SCORES:
        raise UsageError(f"unknown score {name!r}.{nearest(name, SCORES)} Scores: {', '.join(SCORES)}.")
    if math.isnan(old):
        return not math.isnan(new)
    return new > old if SCORES[name].better == "higher" else new < old


def score_texts(
    metric_names: Sequence[str],
    predictions: Sequence[Any],
    references: Sequence[Any],
    *,
    rouge_tokenizer: RougeTokenizer = "auto",
    language: str | None = None,
) -> Scores:
    """Scores and details of several metrics on the same rows. All names are checked before the first one runs.

    Args:
        metric_names: keys of `METRICS`, or `evaluate:NAME` for a module of Hugging Face evaluate.
        predictions: one value per row, in any collection that `llmkit.data.given` takes, unchanged: only the metric itself
            may strip or lowercase it.
        references: one value per row, in the same order; texts may be lists of several references.
        language: code of the references' language, where it is known.
    Raises:
        UsageError: an unknown metric, or an evaluate module that does not fit these texts.
        DataError: different numbers of rows, or none.
        MachineError: an evaluate module that cannot be fetched or lacks a package.
    """
    metric_names = given_names(metric_names, what="metrics")
    _check_metric_names(metric_names)
    predictions = list(given_values(predictions, what="predictions"))
    references = list(given_values(references, what="references"))
    check_rows(predictions, references)
    for name in metric_names:
        if values_of(name) in ("text", "label"):
            _check_none_missing(name, predictions, references)
    return merge_scores(_compute(name, predictions, references, rouge_tokenizer, language) for name in metric_names)


def row_statistics(
    metric_names: Sequence[str],
    predictions: Sequence[Any],
    references: Sequence[Any],
    *,
    rouge_tokenizer: RougeTokenizer = "auto",
    language: str | None = None,
) -> RowStatistics:
    """What each row contributes to the scores of several metrics; without scores that are undefined for these rows, and
    those of `evaluate:` modules. Arguments and errors as for `score_texts`, which returns the same with the scores."""
    scores = score_texts(metric_names, predictions, references, rouge_tokenizer=rouge_tokenizer, language=language)
    return scores.statistics or RowStatistics(len(references), lambda weights: {})


def merge_scores(all_scores: Iterable[Scores]) -> Scores:
    """Merge the scores, details and statistics of several metrics on the same rows."""
    from llmkit.evaluation.uncertainty.statistics import merged

    values: dict[str, float] = {}
    details: dict[str, Any] = {}
    statistics: list[RowStatistics] = []
    for scores in all_scores:
        values.update(scores.values)
        statistics += [scores.statistics] if scores.statistics is not None else []
        undefined = {**details.get("undefined", {}), **scores.details.get("undefined", {})}
        details.update({**scores.details, **({"undefined": undefined} if undefined else {})})
    return Scores(values, details, _with_bounds(merged(statistics), values) if statistics else None)


def _with_bounds(statistics: RowStatistics, scores: Iterable[str]) -> RowStatistics:
    bounds = {name: SCORES[name].bounds for name in scores if name in SCORES}
    return replace(statistics, bounds={name: pair for name, pair in bounds.items() if pair is not None})


def _compute(
    name: str,
    predictions: Sequence[Any],
    references: Sequence[Any],
    rouge_tokenizer: RougeTokenizer,
    language: str | None,
) -> Scores:
    if name.startswith(EXTERNAL_PREFIX):
        return compute_external(name.removeprefix(EXTERNAL_PREFIX), predictions, references)
    if name == "rouge":
        return rouge(predictions, references, tokenizer=rouge_tokenizer)
    if name in ("bleu", "ter"):
        return (bleu if name == "bleu" else ter)(predictions, references, language=language)
    return METRICS[name].compute(predictions, references)


def _check_metric_names(metric_names: Sequence[str]) -> None:
    for name in metric_names:
        if name not in METRICS and not name.startswith(EXTERNAL_PREFIX):
            raise UsageError(
                f"unknown metric {name!r}.{nearest(name, METRICS)} "
                f"Metrics: {', '.join(METRICS)}, or {EXTERNAL_PREFIX}NAME."
            )
        if name in METRICS and METRICS[name].of_vectors:
            raise UsageError(
                f"{name} is measured on vectors, not on predictions. "
                f"Use it alone: llmkit evaluate --metric {name} --data FILE"
            )


def _check_none_missing(name: str, predictions: Sequence[Any], references: Sequence[Any]) -> None:
    for side, values in (("prediction", predictions), ("reference", references)):
        row = next((row for row, value in enumerate(values, 1) if is_missing(value)), None)
        if row is not None:
            raise DataError(f"row {row:,}: the {side} is missing; {name} needs one in every row.")


def check_rows(predictions: Sequence[Any], references: Sequence[Any]) -> None:
    """
    Raises:
        DataError: different numbers of rows, or none.
    """
    if len(predictions) != len(references):
        raise DataError(f"{len(predictions)} predictions for {len(references)} references; each row needs one of each.")
    if not references:
        raise DataError("0 predictions and 0 references: a metric needs at least one row.")

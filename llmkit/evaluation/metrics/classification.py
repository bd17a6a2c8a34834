"""Metrics of one label per row, computed by scikit-learn. Labels are texts and must be exactly equal.

If the references are lists, each row has many labels, and `multilabel.py` computes the same metrics. A label that
occurs only in the predictions or only in the references counts like any other: it has its row in every table and is
part of the macro averages. A ratio with a denominator of 0 is 0.0, never NaN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmkit.data.labels import in_order
from llmkit.errors import DataError
from llmkit.evaluation.metrics import multilabel
from llmkit.evaluation.metrics.undefined import undefined
from llmkit.tasks.base import Scores

if TYPE_CHECKING:
    from llmkit.evaluation.metrics.label_counts import Ratio

_MOST_LABELS = 2000
"""Of a table with a row and a column for each label."""


def accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """Share of rows whose label is correct, and the share for always predicting the most frequent label.

    If rows have many labels, all of them must be correct, and the baseline is the most frequent set of labels.
    """
    from llmkit.evaluation.metrics.label_counts import accuracy_statistics

    if multilabel.are_label_lists(references):
        predictions, references = multilabel.as_texts(predictions), multilabel.as_texts(references)
    correct = [prediction == reference for prediction, reference in zip(predictions, references, strict=True)]
    most_frequent_rows = max(Counter(references).values())
    scores = {"accuracy": sum(correct) / len(references), "majority_share": most_frequent_rows / len(references)}
    return Scores(scores, statistics=accuracy_statistics(correct, references))


def precision(predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """`precision_micro` and `precision_macro`; details as `per_class_details` gives them."""
    return _ratio_scores("precision", predictions, references)


def recall(predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """`recall_micro` and `recall_macro`; details as `per_class_details` gives them."""
    return _ratio_scores("recall", predictions, references)


def f1(predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """`f1_micro`, which is the accuracy where each row has one label, and `f1_macro`, the mean over labels."""
    return _ratio_scores("f1", predictions, references)


def mcc(predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """`mcc`, Matthews' correlation for any number of labels (Gorodkin 2004); 0 where either side has one label only."""
    from sklearn.metrics import matthews_corrcoef

    from llmkit.evaluation.metrics.label_counts import mcc_statistics

    labels = _labels(predictions, references)
    if len(set(predictions)) == 1 or len(set(references)) == 1:
        side = "predictions" if len(set(predictions)) == 1 else "references"
        return undefined("mcc", f"all {side} are {(predictions if side == 'predictions' else references)[0]!r}")
    _refuse_many("mcc", labels)
    value = float(matthews_corrcoef(_indices(references, labels), _indices(predictions, labels)))
    return Scores({"mcc": value}, statistics=mcc_statistics(predictions, references))


def _refuse_many(metric: str, labels: Sequence[str]) -> None:
    """
    Raises:
        DataError: so many labels that a table with a row and a column for each would fill the memory.
    """
    if len(labels) > _MOST_LABELS:
        raise DataError(
            f"{metric}: {len(labels):,} different labels; it compares each with each, and takes {_MOST_LABELS:,} at most. "
            "Use accuracy or f1, or exact_text or rouge if these are texts."
        )


def confusion(predictions: Sequence[str], references: Sequence[str]) -> Scores:
    """No score, but a table of counts.

    Returns:
        Details `confusion`: `labels`, sorted; `rows`, one for each label as a reference, its columns the predictions.
    """
    from sklearn.metrics import confusion_matrix

    labels = _labels(predictions, references)
    _refuse_many("confusion", labels)
    # At least two columns, of which the second may be removed again: scikit-learn warns about a table of one label.
    matrix = confusion_matrix(
        _indices(references, labels), _indices(predictions, labels), labels=list(range(max(2, len(labels))))
    )[: len(labels), : len(labels)]
    return Scores({}, {"confusion": {"labels": labels, "rows": matrix.tolist()}})


def per_class_details(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """The scores of each class, of which the macro average is the mean.

    Returns:
        `per_class`: label -> precision, recall, f1 in 0..1 and support, its rows among the references;
        `labels_only_in_predictions` and `labels_only_in_references`, sorted.
    """
    from sklearn.metrics import precision_recall_fscore_support

    labels = _labels(predictions, references)
    columns = precision_recall_fscore_support(
        _indices(references, labels),
        _indices(predictions, labels),
        labels=list(range(len(labels))),
        zero_division=0.0,
    )
    per_class = {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(support)}
        for label, p, r, f, support in zip(labels, *columns, strict=True)
    }
    return {
        "per_class": per_class,
        "labels_only_in_predictions": in_order(set(predictions) - set(references)),
        "labels_only_in_references": in_order(set(references) - set(predictions)),
    }


def _ratio_scores(ratio: Ratio, predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    from llmkit.evaluation.metrics.label_counts import ratio_statistics

    if multilabel.are_label_lists(references):
        return multilabel.ratio_scores(ratio, predictions, references)
    details = per_class_details(predictions, references)
    classes = details["per_class"].values()
    # One label per row: each wrong row is one false positive and one false negative, so that the three micro means
    # are all the accuracy.
    micro = accuracy(predictions, references).values["accuracy"]
    macro = sum(entry[ratio] for entry in classes) / len(classes)
    statistics = ratio_statistics(ratio, predictions, references)
    return Scores({f"{ratio}_micro": micro, f"{ratio}_macro": macro}, details, statistics)


def _labels(predictions: Sequence[str], references: Sequence[str]) -> list[str]:
    return in_order({*predictions, *references})


def _indices(texts: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Labels as numbers: an array of texts would drop trailing NULs, and pad each to the longest prediction."""
    index_of = {label: index for index, label in enumerate(labels)}
    return [index_of[text] for text in texts]

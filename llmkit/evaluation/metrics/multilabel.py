"""Metrics of rows with any number of labels. A prediction is `{"labels": [...], "probabilities": {label: ...}}`.

A label that occurs only in predictions or references counts like any other. A ratio with a denominator of 0 is 0.0,
never NaN.

Legend: R rows, C labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.data.labels import in_order
from llmkit.errors import DataError
from llmkit.evaluation.metrics.undefined import undefined
from llmkit.tasks.base import Scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llmkit.evaluation.metrics.label_counts import Ratio


def are_label_lists(references: Sequence[Any]) -> bool:
    """Whether each row has a list of labels."""
    return isinstance(references[0], list)


def as_texts(rows: Sequence[Any]) -> list[str]:
    """Each set of labels as one text, equal where the sets are."""
    return [json.dumps(sorted(labels)) for labels in _sets(rows)]


def ratio_scores(ratio: Ratio, predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`{ratio}_micro` over all rows and labels, `{ratio}_macro` as the mean over labels; details `per_class`."""
    from sklearn.metrics import precision_recall_fscore_support

    from llmkit.evaluation.metrics.label_counts import set_ratio_statistics

    predicted_sets, reference_sets = _sets(predictions), _sets(references)
    labels = in_order(set().union(*predicted_sets, *reference_sets))
    if not labels:
        zeros = {f"{ratio}_micro": 0.0, f"{ratio}_macro": 0.0}
        return Scores(zeros, undefined(ratio, "no row has a label, and none was predicted").details)
    predicted, expected = _table(predicted_sets, labels), _table(reference_sets, labels)
    columns = precision_recall_fscore_support(expected, predicted, average=None, zero_division=0.0)
    names = ("precision", "recall", "f1")
    per_class = {
        label: {**dict(zip(names, map(float, values[:3]), strict=True)), "support": int(values[3])}
        for label, *values in zip(labels, *(column[: len(labels)] for column in columns), strict=True)
    }
    micro = precision_recall_fscore_support(expected, predicted, average="micro", zero_division=0.0)
    macro = sum(entry[ratio] for entry in per_class.values()) / len(labels)
    scores = {f"{ratio}_micro": float(micro[names.index(ratio)]), f"{ratio}_macro": macro}
    return Scores(scores, {"per_class": per_class}, set_ratio_statistics(ratio, predicted_sets, reference_sets))


def mean_average_precision(predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
    """`map`: the area under precision over recall, the mean over labels with at least one row; it needs no threshold.

    Returns:
        Details `average_precision` by label, and `labels_without_rows`, which are not averaged.
    """
    from sklearn.metrics import average_precision_score

    from llmkit.evaluation.metrics.label_counts import average_precision_statistics

    if not isinstance(predictions[0], Mapping):
        raise DataError("map: needs a probability for each label, which these predictions do not have.")
    labels = list(predictions[0]["probabilities"])
    reference_sets = _sets(references)
    label_scores, labels_without_rows = {}, []
    probabilities = {label: [prediction["probabilities"][label] for prediction in predictions] for label in labels}
    for label in labels:
        has_label = [label in row for row in reference_sets]
        if any(has_label):
            label_scores[label] = float(average_precision_score(has_label, probabilities[label]))
        else:
            labels_without_rows.append(label)
    if not label_scores:
        return undefined("map", "no row has a label")
    mean = sum(label_scores.values()) / len(label_scores)
    details = {"average_precision": label_scores, "labels_without_rows": labels_without_rows}
    return Scores({"map": mean}, details, average_precision_statistics(probabilities, reference_sets))


def _sets(rows: Sequence[Any]) -> list[set[str]]:
    return [set(row["labels"] if isinstance(row, Mapping) else row) for row in rows]


def _table(rows: Sequence[set[str]], labels: Sequence[str]) -> NDArray[np.int64]:
    """(R, C) 1 where a row has a label; at least two columns, since scikit-learn interprets a single column differently."""
    import numpy as np

    table = np.array([[label in row for label in labels] for row in rows], dtype=np.int64)
    return np.pad(table, ((0, 0), (0, max(0, 2 - len(labels)))))

"""Scores of tagged words from counts of each row, for resamples of the rows. As in `tagging.py`.

Legend: N rows, R resamples, C types of entities, or tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llmkit.evaluation.metrics.tag_notations import Tagged
from llmkit.evaluation.uncertainty.statistics import FloatArray, RowStatistics, of_sums, ratio
from llmkit.tasks.token_classification.tags import EntityWords, split_tag


def entity_statistics(predictions: Tagged, references: Tagged) -> RowStatistics:
    """Of the scores of `entities`, from the numbers of predicted, reference and correct entities of each type.

    Args:
        predictions, references: in BIO.
    """
    predicted, expected = ([_strict_entities(row) for row in side] for side in (predictions, references))
    correct = [row & other for row, other in zip(predicted, expected, strict=True)]
    sides = [[Counter(entity.label for entity in row) for row in side] for side in (predicted, expected, correct)]
    counts = _tables(sides)  # (N, 3 C)

    def scores(sums: FloatArray) -> dict[str, FloatArray]:
        said, true, right = np.split(sums, 3, axis=1)  # (R, C) each
        all_said, all_true, all_right = (side.sum(axis=1) for side in (said, true, right))
        types = np.count_nonzero(said + true, axis=1).astype(np.float64)
        return {
            "entity_precision": ratio(all_right, all_said),
            "entity_recall": ratio(all_right, all_true),
            "entity_f1": ratio(2 * all_right, all_said + all_true),
            "entity_f1_macro": ratio(ratio(2 * right, said + true).sum(axis=1), types),
        }

    return of_sums(counts, scores)


def tag_statistics(predictions: Tagged, references: Tagged) -> RowStatistics:
    """Of `tag_accuracy` and `majority_tag_share`; undefined for a resample without words."""
    correct = [
        Counter(right=sum(tag == other for tag, other in zip(row, other_row, strict=True)))
        for row, other_row in zip(predictions, references, strict=True)
    ]
    counts = _tables([correct], [[Counter(row) for row in references]])  # (N, 1 + C)

    def scores(sums: FloatArray) -> dict[str, FloatArray]:
        with_tag = sums[:, 1:]  # (R, C)
        words = with_tag.sum(axis=1)
        return {
            "tag_accuracy": ratio(sums[:, 0], words, otherwise=np.nan),
            "majority_tag_share": ratio(with_tag.max(axis=1), words, otherwise=np.nan),
        }

    return of_sums(counts, scores)


def _strict_entities(tags: Sequence[str]) -> set[EntityWords]:
    """The entities of a row: an `I-` that continues none is not one."""
    entities: list[EntityWords] = []
    open_type = ""
    for index, tag in enumerate(tags):
        prefix, label = split_tag(tag)
        if prefix == "B":
            entities.append(EntityWords(index, index + 1, label))
        elif prefix == "I" and label == open_type:
            entities[-1] = entities[-1]._replace(end=index + 1)
        open_type = label if prefix == "B" or (prefix == "I" and label == open_type) else ""
    return set(entities)


def _tables(*groups: Sequence[Sequence[Mapping[str, int]]]) -> Any:
    """(N, K) sparse, the counts of each row side by side; the sides of a group have the same columns, one for each
    name."""
    from scipy.sparse import csr_array, hstack

    tables = []
    for sides in groups:
        names = dict.fromkeys(name for side in sides for row in side for name in row)
        codes = {name: code for code, name in enumerate(names)}
        for side in sides:
            columns = [codes[name] for row in side for name in row]
            values = np.array([count for row in side for count in row.values()], dtype=np.float64)
            ends = np.cumsum([0, *map(len, side)])
            tables.append(csr_array((values, columns, ends), shape=(len(side), len(codes))))
    return hstack(tables, format="csr")

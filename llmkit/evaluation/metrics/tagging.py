"""Metrics of a tag for each word: entities by seqeval in its strict mode, and plain tags.

An entity is correct if its first word, its last word and its type are. Strict IOB2: an entity begins with `B-`, and an
`I-` without an entity to continue is not one. References and predictions in other schemes and notations are converted to
BIO first, and references that begin entities with `I-`.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

from llmkit.data.labels import in_order
from llmkit.errors import DataError, UsageError
from llmkit.evaluation.metrics.tag_notations import Tagged, entities_in_bio, tags_alike
from llmkit.tasks.base import Scores
from llmkit.tasks.token_classification.notations import OUTSIDE
from llmkit.tasks.token_classification.tags import split_tag


def entities(predictions: Tagged, references: Tagged) -> Scores:
    """Precision, recall and F1 over all entities, and the mean F1 over types.

    Returns:
        Details `per_type`: type -> precision, recall, f1 in 0..1, support and predicted, its entities among the
        references and the predictions.
    Raises:
        UsageError: the reference tags have no prefixes.
        DataError: a row with more or fewer predicted tags than words.
    """
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    from llmkit.evaluation.metrics.tag_counts import entity_statistics

    _check(predictions, references)
    predicted, expected = entities_in_bio(predictions, references)
    types = in_order({split_tag(tag)[1] for tag in chain(*expected, *predicted)} - {""})
    number_of = {label: f"{number:06}" for number, label in enumerate(types)}
    # Types as numbers: seqeval strips hyphens from their ends, and sorts by name.
    expected, predicted = _number_types(expected, number_of), _number_types(predicted, number_of)
    scored_types = _types_with_entities(expected, predicted)
    if not scored_types:
        return Scores(dict.fromkeys(("entity_precision", "entity_recall", "entity_f1", "entity_f1_macro"), 0.0))
    options: dict[str, Any] = {"scheme": IOB2, "zero_division": 0}
    micro = precision_recall_fscore_support(expected, predicted, average="micro", **options)
    columns = precision_recall_fscore_support(expected, predicted, average=None, **options)
    predicted_entities = Counter(split_tag(tag)[1] for tag in chain(*predicted) if split_tag(tag)[0] == "B")
    name_of = {number: label for label, number in number_of.items()}
    per_type = {
        name_of[number]: {
            "precision": float(p),
            "recall": float(r),
            "f1": float(f),
            "support": int(support),
            "predicted": predicted_entities[number],
        }
        for number, p, r, f, support in zip(scored_types, *columns, strict=True)
    }
    scores = {
        "entity_precision": float(micro[0]),
        "entity_recall": float(micro[1]),
        "entity_f1": float(micro[2]),
        "entity_f1_macro": sum(row["f1"] for row in per_type.values()) / len(per_type),
    }
    return Scores(scores, {"per_type": per_type}, entity_statistics(predicted, expected))


def tag_accuracy(predictions: Tagged, references: Tagged) -> Scores:
    """Share of words whose tag is correct, and the share for always predicting the most frequent tag.

    Raises:
        DataError: a row with more or fewer predicted tags than words, or no words at all.
    """
    from llmkit.evaluation.metrics.tag_counts import tag_statistics

    _check(predictions, references)
    alike = tags_alike(predictions, references)
    tags = list(chain.from_iterable(alike))
    if not tags:
        raise DataError("the references have no words.")
    pairs = zip(chain.from_iterable(predictions), tags, strict=True)
    correct = sum(prediction == reference for prediction, reference in pairs)
    most_frequent = max(Counter(tags).values())
    scores = {"tag_accuracy": correct / len(tags), "majority_tag_share": most_frequent / len(tags)}
    return Scores(scores, statistics=tag_statistics(predictions, alike))


def _check(predictions: Tagged, references: Tagged) -> None:
    for row, (prediction, reference) in enumerate(zip(predictions, references, strict=True), 1):
        if isinstance(prediction, str) or isinstance(reference, str):
            raise UsageError(f"row {row:,}: found text, expected the tags of words. Use another metric.")
        if len(prediction) != len(reference):
            raise DataError(
                f"row {row:,}: {len(prediction):,} predicted tags for {len(reference):,} words; each needs one."
            )


def _number_types(rows: Tagged, number_of: dict[str, str]) -> list[list[str]]:
    def number_type(tag: str) -> str:
        prefix, label = split_tag(tag)
        return f"{prefix}-{number_of[label]}" if label else OUTSIDE

    return [[number_type(tag) for tag in row] for row in rows]


def _types_with_entities(*sides: Tagged) -> list[str]:
    """The types that seqeval scores: in strict mode, those with at least one `B-`."""
    tags = {split_tag(tag) for tag in chain.from_iterable(chain(*sides))}
    return sorted(label for prefix, label in tags if prefix == "B")

"""Simple baselines for each task, to compare a model with on the same rows.

A baseline takes training rows and test rows and gives predictions: the same JSON values as `Task.predict`. The work is
done by functions of plain lists in the files of this folder. A new one is such a function and a line in `BASELINES`; a
recipe class names those of its task, and may bring baselines that no other task has. The baseline of language
models is the unigram loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.evaluation.baselines import answers, labels, tags, texts
from llmkit.recipe.blocks import ColumnType
from llmkit.recipe.recipe import Recipe
from llmkit.tasks.base import Baseline, Rows, TaskRecipe
from llmkit.tasks.token_classification.spelling import bio_rows, named_tags
from llmkit.tasks.token_classification.tags import to_bio

_TARGETS: frozenset[ColumnType] = frozenset({"label", "labels", "number"})


def baselines_of(recipe: TaskRecipe) -> tuple[Baseline, ...]:
    """The baselines of a recipe's task; none where nothing is predicted, or none is defined."""
    return (*(BASELINES[name] for name in recipe.baselines), *recipe.task_baselines())


def judged_by_loss(recipe: TaskRecipe) -> bool:
    """Whether the baseline is the unigram loss: for tasks whose generated text is measured by the loss alone."""
    return not recipe.metrics or (recipe.default_best == "loss" and not baselines_of(recipe))


def _target_field(recipe: Recipe) -> str:
    return next(field for field, column_type in recipe.column_types.items() if column_type in _TARGETS)


def _targets(recipe: Recipe, rows: Rows) -> list[Any]:
    field = _target_field(recipe)
    return [row.fields[field] for row in rows]


def _read_texts(recipe: Recipe, rows: Rows) -> list[tuple[str, ...]]:
    """The input of a classifier: the text of each row, and the second text of a pair if the row has it."""
    fields = [field for field, column_type in recipe.column_types.items() if column_type == "text"]
    return [tuple(row.fields[field] for field in fields if field in row.fields) for row in rows]


def _majority(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    return labels.most_frequent(_targets(recipe, train), count=len(rows))


def _majority_set(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    predictions = labels.most_frequent_set(_targets(recipe, train), count=len(rows))
    return labels.with_unseen_labels(predictions, _targets(recipe, rows))


def _mean(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    return labels.mean(_targets(recipe, train), count=len(rows))


def _label(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    return labels.linear_label(_read_texts(recipe, train), _targets(recipe, train), _read_texts(recipe, rows))


def _label_sets(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    texts = _read_texts(recipe, train), _read_texts(recipe, rows)
    predictions = labels.linear_label_sets(texts[0], _targets(recipe, train), texts[1])
    return labels.with_unseen_labels(predictions, _targets(recipe, rows))


def _numbers(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    return labels.linear_numbers(_read_texts(recipe, train), _targets(recipe, train), _read_texts(recipe, rows))


def _lead(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    return [texts.first_sentence(row.fields[recipe.READ_FIELDS[0]]) for row in rows]


def _copy(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    return [row.fields[recipe.READ_FIELDS[0]] for row in rows]


def _most_frequent_tags(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    """In BIO where the task's tags are, like the references and the model's predictions."""
    in_bio = getattr(recipe, "scheme", None) == "bio"
    train_words, words = ([row.fields["words"] for row in side] for side in (train, rows))
    names = getattr(recipe, "labels", None) or ()
    train_tags = named_tags([row.fields["tags"] for row in train], names)
    if in_bio:
        train_tags = bio_rows(train_tags)
    predictions = tags.most_frequent_tags(train_words, train_tags, words)
    return [to_bio(predicted) if in_bio else list(predicted) for predicted in predictions]


def _no_answer(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    return [""] * len(rows)


def _closest_sentence(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    return [answers.closest_sentence(row.fields["context"], row.fields["question"]) for row in rows]


_LOGISTIC = "TF-IDF + logistic regression"

BASELINES: Mapping[str, Baseline] = {
    "closest-sentence": Baseline(
        "closest-sentence", "sentence closest to the question", _closest_sentence, learns=False
    ),
    "most-frequent-tag": Baseline(
        "most-frequent-tag", "most frequent tag of each word", _most_frequent_tags, needs=("words", "tags")
    ),
    "copy": Baseline("copy", "copy of the source", _copy, learns=False),
    "lead-1": Baseline("lead-1", "first sentence", _lead, learns=False),
    "majority": Baseline("majority", "majority class", _majority),
    "majority-set": Baseline("majority", "most frequent set of labels", _majority_set),
    "mean": Baseline("mean", "mean value", _mean),
    "no-answer": Baseline("no-answer", "no answer", _no_answer, learns=False),
    "tfidf-logistic": Baseline("tfidf-logistic", _LOGISTIC, _label),
    "tfidf-logistic-sets": Baseline("tfidf-logistic", _LOGISTIC, _label_sets),
    "tfidf-ridge": Baseline("tfidf-ridge", "TF-IDF + ridge regression", _numbers),
}
"""By the names in `TaskRecipe.BASELINES`."""

"""Baselines of multiple choice: the most frequent correct position, and a random one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmkit.tasks.base import Baseline, Rows
from llmkit.tasks.multiple_choice.choices import Question, rows_with_questions

if TYPE_CHECKING:
    from llmkit.recipe.recipe import Recipe


def _majority(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    """The most frequent correct position in training, among those that a question has."""
    counts = Counter(answer for _, answer in _questions(recipe, train))
    return [
        str(max(range(len(question.choices)), key=lambda position: (counts[position], -position)))
        for question, _ in _questions(recipe, rows)
    ]


def _random(recipe: Recipe, train: Rows, rows: Rows) -> list[Any]:
    rng = random.Random(recipe.train.seed)
    return [str(rng.randrange(len(question.choices))) for question, _ in _questions(recipe, rows)]


def _questions(recipe: Any, rows: Rows) -> Iterator[tuple[Question, int]]:
    questions = rows_with_questions(
        rows, distractors=recipe.distractors, answer_as=recipe.answer_as, seed=recipe.train.seed
    )
    return ((question, answer) for _, question, answer in questions)


BASELINES = (
    Baseline("majority", "most frequent position", _majority),
    Baseline("random", "random choice", _random, learns=False),
)

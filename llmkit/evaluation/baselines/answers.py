"""Answers to questions about a text without a model. Knows no tasks."""

from __future__ import annotations

from llmkit.evaluation.metrics.rouge import UnicodeWords
from llmkit.tasks.sentences import sentences


def closest_sentence(context: str, question: str) -> str:
    """The sentence of the context with the most words of the question; the first of equals, "" if there is none."""
    tokenize = UnicodeWords().tokenize
    question_words = set(tokenize(question))
    return max(sentences(context), key=lambda sentence: len(question_words & set(tokenize(sentence))), default="")

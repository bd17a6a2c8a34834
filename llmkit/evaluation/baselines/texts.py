"""Summaries of a text without a model. Knows no tasks."""

from __future__ import annotations

from llmkit.tasks.sentences import sentences


def first_sentence(text: str) -> str:
    """The first sentence, or "" for a blank text."""
    return next(iter(sentences(text)), "")

"""Questions with choices as token ids, and the scores of their choices. For training and inference.

Legend: R choices of all questions together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmkit.tasks.classification.inputs import Contents, TextInputs
from llmkit.tasks.engine import Engine
from llmkit.tasks.multiple_choice.choices import Question
from llmkit.tasks.unknown import UnknownCount


def read_questions(inputs: TextInputs, questions: Sequence[Question], *, unknown: UnknownCount) -> list[list[Contents]]:
    """The ids of each question with each of its choices; of very long ones, those that are kept."""
    texts = [question.texts() for question in questions]
    flat = [pair for row in texts for pair in row]
    firsts, seconds = [first for first, _ in flat], [second for _, second in flat]
    contents = iter(inputs.read(firsts, seconds, unknown=unknown, cut=True))
    return [[next(contents) for _ in row] for row in texts]


def choice_scores(rows: Sequence[Sequence[Sequence[int]]], engine: Engine) -> list[Any]:
    """For each question the scores of its choices, a float64 array.

    Args:
        rows: the sequence of ids of each choice.
    """
    import numpy as np

    flat = [ids for row in rows for ids in row]
    if not flat:
        return []
    scores = engine.class_logits(flat, pairs=True)[:, 0].astype(np.float64)  # (R,)
    ends = np.cumsum([len(row) for row in rows])
    return np.split(scores, ends[:-1])

"""What each task is for, in the words of a model card and of the hub. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.classification.problem_types import ProblemType
from llmkit.tasks.classification.recipe import ClassificationRecipe


class Purpose(NamedTuple):
    """A task for people who only see its model."""

    pipeline_tag: str | None
    """The hub's name of the task; None where it has none."""
    text: str
    """What a model of it does, as the rest of a sentence."""


PURPOSES: Mapping[str, Purpose] = {
    "classification": Purpose("text-classification", "gives a text one of its labels"),
    "causal-lm": Purpose("text-generation", "continues a text, and is a start for further training"),
    "instruction": Purpose("text-generation", "answers prompts and takes part in conversations"),
    "masked-lm": Purpose("fill-mask", "fills masks in a text, and is a start for further training"),
    "multiple-choice": Purpose("multiple-choice", "chooses the answer to a question among given ones"),
    "question-answering": Purpose("question-answering", "finds the answer to a question in a given text"),
    "replaced-token-detection": Purpose(None, "is a start for further training; alone it does no task"),
    "span-corruption": Purpose(None, "is a start for further training; alone it does no task"),
    "denoising": Purpose(None, "is a start for further training; alone it does no task"),
    "summarization": Purpose("summarization", "summarizes a text"),
    "token-classification": Purpose("token-classification", "tags the words of a text, such as the names in it"),
    "translation": Purpose("translation", "translates a text"),
    "text-to-text": Purpose("text-generation", "turns a text into another one, as its training rows do"),
}
"""By the value of `task:` in a recipe."""
_CLASSIFIED: Mapping[ProblemType, str] = {
    "single_label_classification": "gives a text one of its labels",
    "multi_label_classification": "gives a text any number of its labels, each with a probability of its own",
    "regression": "gives a text a number",
}


def purpose_of(recipe: TaskRecipe) -> Purpose:
    purpose = PURPOSES[recipe.task]
    if isinstance(recipe, ClassificationRecipe):
        return purpose._replace(text=_CLASSIFIED[recipe.problem_type])
    return purpose

"""Task objects from recipes. Imports torch; `RECIPES` in `llmkit.tasks`, which checks recipes, does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmkit.models.loaded import LoadedModel
from llmkit.tasks.base import Task, TaskRecipe
from llmkit.tasks.classification.task import ClassificationTask
from llmkit.tasks.instruction.task import InstructionTask
from llmkit.tasks.multiple_choice.task import MultipleChoiceTask
from llmkit.tasks.pretraining.causal_lm import CausalLMTask
from llmkit.tasks.pretraining.denoising import DenoisingTask
from llmkit.tasks.pretraining.masked_lm import MaskedLMTask
from llmkit.tasks.pretraining.replaced_tokens import ReplacedTokenTask
from llmkit.tasks.pretraining.span_corruption import SpanCorruptionTask
from llmkit.tasks.question_answering.task import QuestionAnsweringTask
from llmkit.tasks.seq2seq.task import Seq2SeqTask
from llmkit.tasks.token_classification.task import TokenClassificationTask

TASKS: Mapping[str, Callable[[Any, LoadedModel], Task]] = {
    "classification": ClassificationTask,
    "causal-lm": CausalLMTask,
    "instruction": InstructionTask,
    "masked-lm": MaskedLMTask,
    "multiple-choice": MultipleChoiceTask,
    "question-answering": QuestionAnsweringTask,
    "replaced-token-detection": ReplacedTokenTask,
    "span-corruption": SpanCorruptionTask,
    "denoising": DenoisingTask,
    "summarization": Seq2SeqTask,
    "token-classification": TokenClassificationTask,
    "translation": Seq2SeqTask,
    "text-to-text": Seq2SeqTask,
}
"""The class that each recipe of `RECIPES` is trained and evaluated by."""


def build_task(recipe: TaskRecipe, loaded: LoadedModel) -> Task:
    """The recipe's task around its model.

    Raises:
        UsageError, ModelError: the model does not fit the recipe.
    """
    return TASKS[recipe.task](recipe, loaded)

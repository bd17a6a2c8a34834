"""The tasks. A new one is a package in this folder and a line in this table. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from llmkit.tasks.base import TaskRecipe
from llmkit.tasks.classification.recipe import ClassificationRecipe
from llmkit.tasks.instruction.recipe import InstructionRecipe
from llmkit.tasks.multiple_choice.recipe import MultipleChoiceRecipe
from llmkit.tasks.pretraining.recipe import (
    CausalLMRecipe,
    DenoisingRecipe,
    MaskedLMRecipe,
    ReplacedTokenRecipe,
    SpanCorruptionRecipe,
)
from llmkit.tasks.question_answering.recipe import QuestionAnsweringRecipe
from llmkit.tasks.seq2seq.summarization import SummarizationRecipe
from llmkit.tasks.seq2seq.text_to_text import TextToTextRecipe
from llmkit.tasks.seq2seq.translation import TranslationRecipe
from llmkit.tasks.token_classification.recipe import TokenClassificationRecipe

RECIPES: Mapping[str, type[TaskRecipe]] = {
    "classification": ClassificationRecipe,
    "causal-lm": CausalLMRecipe,
    "instruction": InstructionRecipe,
    "masked-lm": MaskedLMRecipe,
    "multiple-choice": MultipleChoiceRecipe,
    "question-answering": QuestionAnsweringRecipe,
    "replaced-token-detection": ReplacedTokenRecipe,
    "span-corruption": SpanCorruptionRecipe,
    "denoising": DenoisingRecipe,
    "summarization": SummarizationRecipe,
    "token-classification": TokenClassificationRecipe,
    "translation": TranslationRecipe,
    "text-to-text": TextToTextRecipe,
}
"""The values of `task:` in a recipe."""

Verb = Literal["answer", "chat", "choose", "classify", "embed", "fill", "generate", "summarize", "tag", "translate"]
"""The commands that use a model: `VERB` of each recipe class, and `embed`, which takes any encoder."""

PRETRAINING = tuple(task for task, recipe in RECIPES.items() if recipe.PRETRAINS)
"""Tasks that need only text."""

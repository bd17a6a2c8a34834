"""The tasks. A new one is a file in this folder and a line in each of the two tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.recipe.blocks import Recipe
from llmkit.tasks.classification.task import ClassificationRecipe, ClassificationTask
from llmkit.tasks.instruction.task import InstructionRecipe, InstructionTask
from llmkit.tasks.pretraining.causal_lm import CausalLMRecipe, CausalLMTask
from llmkit.tasks.pretraining.masked_lm import MaskedLMRecipe, MaskedLMTask
from llmkit.tasks.pretraining.span_corruption import SpanCorruptionRecipe, SpanCorruptionTask
from llmkit.tasks.question_answering.task import QuestionAnsweringRecipe, QuestionAnsweringTask
from llmkit.tasks.seq2seq.summarization import SummarizationRecipe, SummarizationTask
from llmkit.tasks.seq2seq.text_to_text import TextToTextRecipe, TextToTextTask
from llmkit.tasks.seq2seq.translation import TranslationRecipe, TranslationTask
from llmkit.tasks.token_classification.task import TokenClassificationRecipe, TokenClassificationTask

RECIPES: Mapping[str, type[Recipe]] = {
    "classification": ClassificationRecipe,
    "causal-lm": CausalLMRecipe,
    "instruction": InstructionRecipe,
    "masked-lm": MaskedLMRecipe,
    "question-answering": QuestionAnsweringRecipe,
    "span-corruption": SpanCorruptionRecipe,
    "summarization": SummarizationRecipe,
    "token-classification": TokenClassificationRecipe,
    "translation": TranslationRecipe,
    "text-to-text": TextToTextRecipe,
}
"""What `task:` may say in a recipe."""

PRETRAINING = ("causal-lm", "masked-lm", "span-corruption")
"""Tasks that need nothing but text."""

TASKS: Mapping[type[Recipe], Any] = {
    ClassificationRecipe: ClassificationTask,
    CausalLMRecipe: CausalLMTask,
    InstructionRecipe: InstructionTask,
    MaskedLMRecipe: MaskedLMTask,
    QuestionAnsweringRecipe: QuestionAnsweringTask,
    SpanCorruptionRecipe: SpanCorruptionTask,
    SummarizationRecipe: SummarizationTask,
    TokenClassificationRecipe: TokenClassificationTask,
    TranslationRecipe: TranslationTask,
    TextToTextRecipe: TextToTextTask,
}
"""Recipe class -> task class, which is built as `TASKS[type(recipe)](recipe, loaded)`."""

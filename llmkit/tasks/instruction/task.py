"""Instruction tuning with a decoder: answers in conversations, to questions and to instructions.

A row is a conversation; the loss is that of the assistant's answers, each with the end that the template writes. Turns
are formatted by a chat template in the tokenizer, so that any program with transformers formats them the same way.
Legend: B batch, T tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from llmkit.data.examples import Examples, Origin
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.errors import UsageError
from llmkit.models.causal import next_token_outputs
from llmkit.models.chat import TEMPLATE, answer_ends
from llmkit.models.ends import name_special_ids
from llmkit.models.generation import save_options
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, VocabularyOutputs, row_sums, vocabulary_loss_sum, vocabulary_losses
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.decoding import TextDecoder
from llmkit.tasks.encoding import in_chunks, length_limit
from llmkit.tasks.engine import Engine
from llmkit.tasks.generation import task_options, with_limit
from llmkit.tasks.instruction.conversations import FittedChats, fit_chats
from llmkit.tasks.instruction.predict import answer_fitted, fit_prompts
from llmkit.tasks.instruction.recipe import InstructionRecipe
from llmkit.tasks.instruction.rows import messages_of
from llmkit.tasks.padding import attention_mask, padded
from llmkit.tasks.token_ids import start_ids

logger = logging.getLogger("llmkit")
_DEFAULT_MAX_NEW_TOKENS = 128
"""Length limit of an answer before training."""


class InstructionTask(BaseTask):
    def __init__(self, recipe: InstructionRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        if recipe.max_tokens is not None and recipe.max_tokens > loaded.window:
            raise UsageError(
                f"max_tokens: {recipe.max_tokens:,}, but {loaded.name} reads {loaded.window:,} tokens at most."
            )
        self._max_tokens = recipe.max_tokens or loaded.window
        default_limit = min(_DEFAULT_MAX_NEW_TOKENS, self._max_tokens)
        self.options = task_options(loaded, recipe.generation, default_limit=default_limit)
        self._save_config()

    def encode(self, rows: Iterable[Row]) -> Examples:
        return self._encode(rows, every_row=False)

    def encode_every(self, rows: Iterable[Row]) -> Examples:
        """With rows whose answer is too long to be learnt: what is written depends on the prompt alone."""
        return self._encode(rows, every_row=True)

    def _encode(self, rows: Iterable[Row], *, every_row: bool) -> Examples:
        fitted = FittedChats(
            self.loaded, max_tokens=self._max_tokens, overflow=self.recipe.overflow, every_row=every_row
        )
        for chunk in in_chunks(rows):
            chats = [messages_of(row) for row in chunk]
            fit_chats(self.loaded, chats, [Origin.of(row) for row in chunk], into=fitted)
        fitted.report()
        return fitted.examples()

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        ids = examples.columns["input_ids"]
        inputs = padded(ids, indices, value=self.loaded.tokenizer.pad_token_id)  # (B, T)
        labels = inputs.new_full(inputs.shape, IGNORED)
        for row, index in enumerate(indices):
            for start, end in _answers_of(examples, int(index)):
                labels[row, start - 1 : end - 1] = inputs[row, start:end]  # the target of output t is token t + 1
        return {"input_ids": inputs, "attention_mask": attention_mask(ids, indices), "labels": labels}

    def loss_sum(self, batch: Batch) -> Tensor:
        return vocabulary_loss_sum(*self._outputs(batch))

    def row_losses(self, batch: Batch) -> Tensor:
        return row_sums(vocabulary_losses(*self._outputs(batch)), batch["labels"])

    def predict(self, examples: Examples, engine: Engine) -> list[Any]:
        """The answer to the last turn of each row, generated without sampling, as `chat` and `generate` do; an empty one
        where the last turn alone is too long to be answered."""
        fitted = fit_prompts(self.loaded, examples.sources, options=self.options)
        decoder = TextDecoder(self.loaded)
        answers = iter(answer_fitted(engine, [one for one in fitted if one is not None], decoder=decoder))
        if unanswered := fitted.count(None):
            logger.warning("answers: %s prompts are too long to be answered, and count as wrong", f"{unanswered:,}")
        decoder.report()
        return ["" if one is None else next(answers)[0].text for one in fitted]

    def prepare_training(self, train: Examples) -> Examples:
        """Set the length limit so that 99 % of the training answers fit, and save it with the model."""
        if self.recipe.generation.max_new_tokens is None and len(train):
            lengths = [end - start for index in range(len(train)) for start, end in _answers_of(train, index)]
            limit = length_limit(lengths)
            self.options = with_limit(self.options, limit, least=self.recipe.generation.min_new_tokens)
            save_options(self.loaded, self.options)
            logger.info("answers: limited to %s new tokens, the 99th percentile of training", f"{limit:,}")
        return train

    def _outputs(self, batch: Batch) -> VocabularyOutputs:
        return next_token_outputs(self.loaded.model, batch["input_ids"], batch["attention_mask"], batch["labels"])

    def _save_config(self) -> None:
        """Give the tokenizer our template unless it has one, and save the options in generation_config.json."""
        tokenizer = self.loaded.tokenizer
        if tokenizer.chat_template is None:
            # apply_chat_template() adds no special tokens: the template has to.
            tokenizer.chat_template = ("{{- bos_token -}}" if start_ids(tokenizer) else "") + TEMPLATE
        name_special_ids(self.loaded, taught=next(iter(answer_ends(self.loaded)), tokenizer.eos_token_id))
        save_options(self.loaded, self.options)


def _answers_of(examples: Examples, index: int) -> list[tuple[int, int]]:
    """Start and end of each answer that counts."""
    bounds = examples.columns["answer_places"][index].tolist()
    return list(zip(bounds[::2], bounds[1::2], strict=True))

"""Masked language modelling with BERT: hide some tokens of a text and predict them (Devlin et al. 2019).

Legend: B batch, T tokens, D hidden units.
"""

from __future__ import annotations

from collections.abc import Iterable

from numpy.random import Generator
from torch import Tensor

from llmkit.data.examples import Examples
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, VocabularyOutputs, row_sums, vocabulary_loss_sum, vocabulary_losses
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.engine import Engine
from llmkit.tasks.pretraining.corruption import Flags, Ids, hide_tokens
from llmkit.tasks.pretraining.masked_blocks import MaskedBlocks
from llmkit.tasks.pretraining.recipe import MaskedLMRecipe


class MaskedLMTask(BaseTask):
    def __init__(self, recipe: MaskedLMRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        self._blocks = MaskedBlocks(
            loaded, recipe.block_tokens, recipe.mask_rate, recipe.whole_word, seed=recipe.train.seed
        )

    def encode(self, rows: Iterable[Row]) -> Examples:
        return self._blocks.encode(rows)

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        return self._blocks.collate(examples, indices, epoch=epoch, hide=self._hide)

    def loss_sum(self, batch: Batch) -> Tensor:
        return vocabulary_loss_sum(*self._outputs(batch))

    def row_losses(self, batch: Batch) -> Tensor:
        return row_sums(vocabulary_losses(*self._outputs(batch)), batch["labels"])

    def _outputs(self, batch: Batch) -> VocabularyOutputs:
        model = self.loaded.model
        # A full mask is left out: attention is faster without one.
        mask = None if batch["attention_mask"].all() else batch["attention_mask"]
        states = model.base_model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state  # (B, T, D)
        counted = batch["labels"] != IGNORED
        head = self.loaded.family.masked_lm_head(model)
        hidden = head.transform(states[counted])  # the head runs on the hidden positions only
        return VocabularyOutputs(hidden, head.weight, batch["labels"][counted], head.bias)

    def predict(self, examples: Examples, engine: Engine) -> list[str]:
        """Nothing: a language model is evaluated by its loss."""
        return []

    def _hide(self, ids: Ids, chosen: Flags, rng: Generator) -> Ids:
        mask_id: int = self.loaded.tokenizer.mask_token_id
        return hide_tokens(ids, chosen, mask_id=mask_id, ordinary=self._blocks.ordinary, rng=rng)

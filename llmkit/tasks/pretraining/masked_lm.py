"""Masked language modelling with BERT: hide some tokens of a text and predict them (Devlin et al. 2019).

Documents are packed into full blocks `[CLS] ... [SEP]`, with a [SEP] where one ends inside. Which tokens are hidden
depends on seed, epoch and example alone, and differs every epoch.
Legend: B batch, T tokens, D hidden units.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmkit.data.examples import Examples
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.data.token_store import Blocks
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, vocabulary_loss_sum
from llmkit.tasks.base import BaseTask, Batch
from llmkit.tasks.engine import Engine
from llmkit.tasks.pretraining.corpus import block_tokens_of, bytes_of, token_stream, unknown_of
from llmkit.tasks.pretraining.corruption import chosen_positions, hide_tokens, rng_of
from llmkit.tasks.pretraining.recipe import MaskedLMRecipe


class MaskedLMTask(BaseTask):
    def __init__(self, recipe: MaskedLMRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded

    def encode(self, rows: Iterable[Row]) -> Examples:
        tokenizer = self.loaded.tokenizer
        inside = block_tokens_of(self.recipe.block_tokens, self.loaded) - 2  # without [CLS] and [SEP]
        stream = token_stream(rows, tokenizer, end_id=tokenizer.sep_token_id)
        blocks = Blocks(stream, block_tokens=inside, stride=inside, first=1, keep_last=True)
        return Examples(
            columns={"input_ids": blocks},
            corpus=rows,
            utf8_bytes=bytes_of(stream, share=self.recipe.mask_rate),
            unknown=unknown_of(stream),
        )

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        blocks, tokenizer = examples.columns["input_ids"], self.loaded.tokenizer
        assert isinstance(blocks, Blocks)
        width = int(blocks.lengths[indices].max()) + 2
        inputs = np.full((len(indices), width), tokenizer.pad_token_id, dtype=np.int64)
        labels = np.full((len(indices), width), IGNORED, dtype=np.int64)
        mask = np.zeros((len(indices), width), dtype=np.int64)
        for row, index in enumerate(indices):
            ids = blocks[index]
            rng = rng_of(seed=self.recipe.train.seed, epoch=epoch, example=int(index))
            chosen = self._chosen(blocks, int(index), ids, rng)
            hidden = hide_tokens(ids, chosen, mask_id=tokenizer.mask_token_id, ordinary=self._ordinary, rng=rng)
            stop = 1 + len(ids)
            inputs[row, 0], inputs[row, 1:stop], inputs[row, stop] = (
                tokenizer.cls_token_id,
                hidden,
                tokenizer.sep_token_id,
            )
            labels[row, 1:stop] = np.where(chosen, ids, IGNORED)
            mask[row, : stop + 1] = 1
        arrays = {"input_ids": inputs, "attention_mask": mask, "labels": labels}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}  # each (B, T)

    def loss_sum(self, batch: Batch) -> Tensor:
        model = self.loaded.model
        # A full mask is left out: attention is faster without one.
        mask = None if batch["attention_mask"].all() else batch["attention_mask"]
        states = model.base_model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state  # (B, T, D)
        counted = batch["labels"] != IGNORED
        head = self.loaded.family.masked_lm_head(model)
        hidden = head.transform(states[counted])  # the head runs on the hidden positions only
        return vocabulary_loss_sum(hidden, head.weight, batch["labels"][counted], bias=head.bias)

    def predict(self, examples: Examples, engine: Engine) -> list[str]:
        """Nothing: a language model is evaluated by its loss."""
        return []

    def _chosen(
        self, blocks: Blocks, index: int, ids: NDArray[np.int32], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """The positions to predict: never special tokens, whether ends of documents or in a text."""
        text = np.flatnonzero(~np.isin(ids, self.loaded.tokenizer.all_special_ids))
        chosen = np.zeros(len(ids), dtype=np.bool_)
        if len(text):
            starts = blocks.word_starts(index)[text] if self.recipe.whole_word else np.ones(len(text), dtype=np.bool_)
            chosen[text] = chosen_positions(starts, rate=self.recipe.mask_rate, rng=rng)
        return chosen

    @cached_property
    def _ordinary(self) -> NDArray[np.int32]:
        """Ids that a token may be replaced by: all but special ones."""
        special = set(self.loaded.tokenizer.all_special_ids)
        return np.asarray(
            [index for index in range(len(self.loaded.tokenizer)) if index not in special], dtype=np.int32
        )

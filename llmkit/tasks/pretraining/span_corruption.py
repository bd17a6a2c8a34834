"""Span corruption with T5: replace spans of a text by sentinels, generate the spans (Raffel et al. 2020).

Documents are packed into full blocks, each ended by `</s>`. The text of a block is as long as it must be for its
corrupted form to fill the block exactly: 568 tokens become 512 at the published settings. Which spans are hidden
depends on seed, epoch and example alone, and differs every epoch.
Legend: B batch, S input tokens, T target tokens, D hidden units.
"""

from __future__ import annotations

import logging
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
from llmkit.errors import DataError, ModelError, UsageError
from llmkit.models.ends import name_special_ids
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import VocabularyOutputs, row_sums, vocabulary_loss_sum, vocabulary_losses
from llmkit.models.seq2seq import target_outputs
from llmkit.models.tokenizers.unigram import SENTINELS
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.engine import Engine
from llmkit.tasks.pretraining.corpus import bytes_of, token_stream, unknown_of
from llmkit.tasks.pretraining.corruption import SpanPlan, corrupt_spans, plan_spans, rng_of
from llmkit.tasks.pretraining.recipe import SpanCorruptionRecipe

logger = logging.getLogger("llmkit")


class SpanCorruptionTask(BaseTask):
    def __init__(self, recipe: SpanCorruptionRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        name_special_ids(loaded, taught=loaded.tokenizer.eos_token_id)

    def encode(self, rows: Iterable[Row]) -> Examples:
        plan, tokenizer = self._plan, self.loaded.tokenizer
        stream = token_stream(rows, tokenizer, end_id=tokenizer.eos_token_id)
        blocks = Blocks(stream, block_tokens=plan.raw_tokens, stride=plan.raw_tokens, first=1, keep_last=False)
        if not len(blocks) and stream.count.documents:
            raise DataError(
                f"a corpus of {stream.count.tokens:,} tokens is shorter than one block of {plan.raw_tokens:,}. "
                "Give more text, to validation too, or a smaller block_tokens."
            )
        if blocks.left_out:
            tokens = f"{stream.count.tokens:,}"
            logger.info("corpus: the last %s of %s tokens fill no block", f"{blocks.left_out:,}", tokens)
        hidden_share = len(blocks) * plan.noise_tokens / stream.count.tokens  # nothing is hidden in what fills no block
        return Examples(
            columns={"input_ids": blocks},
            corpus=rows,
            utf8_bytes=bytes_of(stream, share=hidden_share),
            unknown=unknown_of(stream),
        )

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        blocks = examples.columns["input_ids"]
        pairs = [
            corrupt_spans(
                blocks[index],
                self._plan,
                sentinels=self._sentinels,
                end_id=self.loaded.tokenizer.eos_token_id,
                rng=rng_of(seed=self.recipe.train.seed, epoch=epoch, example=int(index)),
            )
            for index in indices
        ]
        inputs, targets = (np.stack(side).astype(np.int64) for side in zip(*pairs, strict=True))
        return {
            "input_ids": torch.from_numpy(inputs),
            "labels": torch.from_numpy(targets),
        }  # (B, S), (B, T): no padding

    def loss_sum(self, batch: Batch) -> Tensor:
        return vocabulary_loss_sum(*self._outputs(batch))

    def row_losses(self, batch: Batch) -> Tensor:
        return row_sums(vocabulary_losses(*self._outputs(batch)), batch["labels"])

    def predict(self, examples: Examples, engine: Engine) -> list[str]:
        """Nothing: a language model is evaluated by its loss."""
        return []

    def _outputs(self, batch: Batch) -> VocabularyOutputs:
        return target_outputs(self.loaded, batch["input_ids"], None, batch["labels"])

    @cached_property
    def _plan(self) -> SpanPlan:
        recipe = self.recipe
        try:
            plan = plan_spans(recipe.block_tokens, density=recipe.mask_rate, mean_span=recipe.mean_span)
        except ValueError as error:
            raise UsageError(f"block_tokens: {error}.") from error
        if plan.spans > len(self._sentinels):
            raise UsageError(
                f"block_tokens: {recipe.block_tokens:,} tokens have {plan.spans} spans, and {self.loaded.name} has "
                f"{len(self._sentinels)} sentinels. Take smaller blocks, or a larger mean_span."
            )
        return plan

    @cached_property
    def _sentinels(self) -> NDArray[np.int32]:
        """Ids of `<extra_id_0>` and so on."""
        vocabulary = self.loaded.tokenizer.get_vocab()
        ids = [vocabulary[name] for name in SENTINELS if name in vocabulary]
        if not ids:
            raise ModelError(f"{self.loaded.name}: its tokenizer has no sentinels such as {SENTINELS[0]}.")
        return np.asarray(ids, dtype=np.int32)

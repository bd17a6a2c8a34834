"""Blocks of text with hidden tokens, for masked language modelling and for replaced-token detection.

Documents are packed into full blocks `[CLS] ... [SEP]`, with a [SEP] where one ends inside. Which tokens are hidden
depends on seed, epoch and example alone, and differs every epoch.
Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from llmkit.data.examples import Examples
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.data.token_store import Blocks
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED
from llmkit.tasks.base import Batch
from llmkit.tasks.pretraining.corpus import block_tokens_of, bytes_of, token_stream, unknown_of
from llmkit.tasks.pretraining.corruption import Flags, Ids, chosen_positions, rng_of

Hide = Callable[[Ids, Flags, Generator], Ids]
"""(ids (T,), flags (T,) of the chosen positions, the example's random numbers) -> ids (T,) that the model reads."""


@dataclass(frozen=True)
class MaskedBlocks:
    """How a task makes its blocks."""

    loaded: LoadedModel
    block_tokens: int | None
    """None for the model's window."""
    mask_rate: float
    whole_word: bool
    seed: int

    def encode(self, rows: Iterable[Row]) -> Examples:
        tokenizer = self.loaded.tokenizer
        inside = block_tokens_of(self.block_tokens, self.loaded) - 2  # without [CLS] and [SEP]
        stream = token_stream(rows, tokenizer, end_id=tokenizer.sep_token_id)
        blocks = Blocks(stream, block_tokens=inside, stride=inside, first=1, keep_last=True)
        return Examples(
            columns={"input_ids": blocks},
            corpus=rows,
            utf8_bytes=bytes_of(stream, share=self.mask_rate),
            unknown=unknown_of(stream),
        )

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None, hide: Hide) -> Batch:
        """`input_ids`, `attention_mask` and `labels`, each (B, T)."""
        blocks, tokenizer = examples.columns["input_ids"], self.loaded.tokenizer
        assert isinstance(blocks, Blocks)
        width = int(blocks.lengths[indices].max()) + 2
        inputs = np.full((len(indices), width), tokenizer.pad_token_id, dtype=np.int64)
        labels = np.full((len(indices), width), IGNORED, dtype=np.int64)
        mask = np.zeros((len(indices), width), dtype=np.int64)
        for row, index in enumerate(indices):
            ids = blocks[index]
            rng = rng_of(seed=self.seed, epoch=epoch, example=int(index))
            chosen = self._chosen(blocks, int(index), ids, rng)
            stop = 1 + len(ids)
            inputs[row, 0], inputs[row, 1:stop], inputs[row, stop] = (
                tokenizer.cls_token_id,
                hide(ids, chosen, rng),
                tokenizer.sep_token_id,
            )
            labels[row, 1:stop] = np.where(chosen, ids, IGNORED)
            mask[row, : stop + 1] = 1
        arrays = {"input_ids": inputs, "attention_mask": mask, "labels": labels}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _chosen(self, blocks: Blocks, index: int, ids: Ids, rng: Generator) -> Flags:
        """The positions to predict: never special tokens, whether ends of documents or in a text."""
        text = np.flatnonzero(~np.isin(ids, self.loaded.tokenizer.all_special_ids))
        chosen = np.zeros(len(ids), dtype=np.bool_)
        if len(text):
            starts = blocks.word_starts(index)[text] if self.whole_word else np.ones(len(text), dtype=np.bool_)
            chosen[text] = chosen_positions(starts, rate=self.mask_rate, rng=rng)
        return chosen

    @cached_property
    def ordinary(self) -> NDArray[np.int32]:
        """Ids of all tokens but special ones."""
        special = set(self.loaded.tokenizer.all_special_ids)
        return np.asarray(
            [index for index in range(len(self.loaded.tokenizer)) if index not in special], dtype=np.int32
        )

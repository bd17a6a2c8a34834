"""Denoising with BART: restore a text whose spans were replaced by masks and whose sentences were shuffled (Lewis et al. 2020).

Documents are packed into blocks, each document ended by `</s>`. The target is the whole block. What is hidden and the order
of the sentences depend on seed, epoch and example alone, and differ every epoch.
Legend: B batch, S input tokens, T target tokens.
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
from llmkit.errors import ModelError
from llmkit.models.ends import name_special_ids
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, VocabularyOutputs, row_sums, vocabulary_loss_sum, vocabulary_losses
from llmkit.models.seq2seq import target_outputs
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.engine import Engine
from llmkit.tasks.pretraining.corpus import block_tokens_of, bytes_of, token_stream, unknown_of
from llmkit.tasks.pretraining.corruption import Ids, infill_spans, permute_sentences, rng_of
from llmkit.tasks.pretraining.recipe import DenoisingRecipe
from llmkit.tasks.sentences import ends_sentence


class DenoisingTask(BaseTask):
    def __init__(self, recipe: DenoisingRecipe, loaded: LoadedModel) -> None:
        if loaded.family.name not in recipe.FAMILIES:
            fitting = ", ".join(recipe.FAMILIES)
            raise ModelError(f"{loaded.name}: denoising works with {fitting}, not {loaded.family.name}.")
        if loaded.tokenizer.mask_token_id is None:
            raise ModelError(f"{loaded.name}: its tokenizer has no mask token, which denoising needs.")
        self.recipe = recipe
        self.loaded = loaded
        name_special_ids(loaded, taught=loaded.tokenizer.eos_token_id)

    def encode(self, rows: Iterable[Row]) -> Examples:
        before, after = self._edges
        inside = block_tokens_of(self.recipe.block_tokens, self.loaded) - len(before) - len(after)
        stream = token_stream(rows, self.loaded.tokenizer, end_id=self._end_id)
        blocks = Blocks(stream, block_tokens=inside, stride=inside, first=1, keep_last=True)
        return Examples(
            columns={"input_ids": blocks}, corpus=rows, utf8_bytes=bytes_of(stream), unknown=unknown_of(stream)
        )

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        blocks, (before, after) = examples.columns["input_ids"], self._edges
        targets = [blocks[index] for index in indices]
        sources = [
            self._corrupted(ids, rng_of(seed=self.recipe.train.seed, epoch=epoch, example=int(index)))
            for ids, index in zip(targets, indices, strict=True)
        ]
        sides = [[np.concatenate([before, ids, after]) for ids in side] for side in (sources, targets)]
        inputs = _rectangle(sides[0], value=self.loaded.tokenizer.pad_token_id)
        lengths = np.asarray([len(ids) for ids in sides[0]])
        mask = (np.arange(inputs.shape[1]) < lengths[:, None]).astype(np.int64)
        arrays = {"input_ids": inputs, "attention_mask": mask, "labels": _rectangle(sides[1], value=IGNORED)}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}  # (B, S), (B, S), (B, T)

    def loss_sum(self, batch: Batch) -> Tensor:
        return vocabulary_loss_sum(*self._outputs(batch))

    def row_losses(self, batch: Batch) -> Tensor:
        return row_sums(vocabulary_losses(*self._outputs(batch)), batch["labels"])

    def predict(self, examples: Examples, engine: Engine) -> list[str]:
        """Nothing: a language model is evaluated by its loss."""
        return []

    def _outputs(self, batch: Batch) -> VocabularyOutputs:
        return target_outputs(self.loaded, batch["input_ids"], batch["attention_mask"], batch["labels"])

    def _corrupted(self, ids: Ids, rng: np.random.Generator) -> Ids:
        recipe = self.recipe
        if recipe.permute_sentences:
            ids = permute_sentences(ids, self._ends_sentence[ids], end_id=self._end_id, rng=rng)
        mask_id: int = self.loaded.tokenizer.mask_token_id
        return infill_spans(ids, rate=recipe.mask_rate, mean_span=recipe.mean_span, mask_id=mask_id, rng=rng)

    @property
    def _end_id(self) -> int:
        end: int = self.loaded.tokenizer.eos_token_id
        return end

    @cached_property
    def _edges(self) -> tuple[Ids, Ids]:
        """The special tokens around a text, such as `<s>` and `</s>`."""
        edges: list[int] = self.loaded.tokenizer("")["input_ids"]
        return np.asarray(edges[:-1], dtype=np.int32), np.asarray(edges[-1:], dtype=np.int32)

    @cached_property
    def _ends_sentence(self) -> NDArray[np.bool_]:
        """For each id, whether its token ends with the punctuation of a sentence."""
        tokenizer = self.loaded.tokenizer
        texts = tokenizer.batch_decode([[index] for index in range(len(tokenizer))], clean_up_tokenization_spaces=False)
        words = [f"{text.strip()} " for text in texts]  # a line end alone ends no sentence
        return np.asarray([ends_sentence(word, len(word)) for word in words], dtype=np.bool_)


def _rectangle(rows: list[Ids], *, value: int) -> NDArray[np.int64]:
    rectangle = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for target, row in zip(rectangle, rows, strict=True):
        target[: len(row)] = row
    return rectangle

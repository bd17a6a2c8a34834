"""Next-token prediction with a decoder, on text packed into full blocks.

Documents are joined by the end-of-text token, which counts in the loss like any other: a model that does not learn it
never stops. Blocks overlap by one token, so that every token is a target once; a beginning-of-text token, which some
tokenizers put in front of each document, is none.
Legend: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from llmkit.data.examples import Examples
from llmkit.data.order import Indices
from llmkit.data.rows import Row
from llmkit.data.token_store import Blocks
from llmkit.models.causal import next_token_outputs
from llmkit.models.ends import name_special_ids
from llmkit.models.loaded import LoadedModel
from llmkit.models.losses import IGNORED, VocabularyOutputs, row_sums, vocabulary_loss_sum, vocabulary_losses
from llmkit.models.special_tokens import special_ids_of
from llmkit.tasks.base import Batch
from llmkit.tasks.base_task import BaseTask
from llmkit.tasks.decoding import edge_ids
from llmkit.tasks.engine import Engine
from llmkit.tasks.padding import attention_mask, padded
from llmkit.tasks.pretraining.corpus import block_tokens_of, bytes_of, token_stream, unknown_of
from llmkit.tasks.pretraining.recipe import CausalLMRecipe
from llmkit.tasks.saved import SavedCausalLM
from llmkit.tasks.token_ids import start_ids


class CausalLMTask(BaseTask):
    def __init__(self, recipe: CausalLMRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded
        name_special_ids(loaded, taught=loaded.tokenizer.eos_token_id)
        # OPT's beginning of text is its end: the end of the document before is enough.
        self._start = [token for token in start_ids(loaded.tokenizer) if token != loaded.tokenizer.eos_token_id]

    def encode(self, rows: Iterable[Row]) -> Examples:
        tokenizer = self.loaded.tokenizer
        block_tokens = block_tokens_of(self.recipe.block_tokens, self.loaded)
        stream = token_stream(rows, tokenizer, end_id=tokenizer.eos_token_id, start=self._start)
        blocks = Blocks(stream, block_tokens=block_tokens, stride=block_tokens - 1, first=0, keep_last=True)
        return Examples(
            columns={"input_ids": blocks},
            corpus=rows,
            utf8_bytes=bytes_of(stream),
            unknown=unknown_of(stream, start=self._start),
        )

    def prepare_training(self, train: Examples) -> Examples:
        """Save the special tokens in the text, besides the end of text: they are text for the model."""
        blocks = train.columns["input_ids"]
        assert isinstance(blocks, Blocks)
        names = special_ids_of(self.loaded.tokenizer)
        without_text = {*edge_ids(self.loaded), self.loaded.tokenizer.unk_token_id}
        other = [token for token in names if token not in without_text]
        if not other:
            return train
        found = {token for ids, _ in blocks.stream.batches for token in np.unique(ids[np.isin(ids, other)]).tolist()}
        if found:
            SavedCausalLM(special_tokens=sorted(names[token] for token in found)).save(self.loaded)
        return train

    def collate(self, examples: Examples, indices: Indices, *, epoch: int | None = None) -> Batch:
        blocks = examples.columns["input_ids"]
        inputs = padded(blocks, indices, value=self.loaded.tokenizer.pad_token_id)  # (B, T)
        mask = attention_mask(blocks, indices)  # (B, T)
        labels = inputs.masked_fill(mask == 0, IGNORED).roll(-1, dims=1)  # the target of output t is token t + 1
        labels[:, -1] = IGNORED
        for token in self._start:  # given, never predicted: generation stops at the end before it
            labels = labels.masked_fill(labels == token, IGNORED)
        return {"input_ids": inputs, "attention_mask": mask, "labels": labels}

    def loss_sum(self, batch: Batch) -> Tensor:
        return vocabulary_loss_sum(*self._outputs(batch))

    def row_losses(self, batch: Batch) -> Tensor:
        return row_sums(vocabulary_losses(*self._outputs(batch)), batch["labels"])

    def predict(self, examples: Examples, engine: Engine) -> list[str]:
        """Nothing: a language model is evaluated by its loss."""
        return []

    def _outputs(self, batch: Batch) -> VocabularyOutputs:
        return next_token_outputs(self.loaded.model, batch["input_ids"], batch["attention_mask"], batch["labels"])

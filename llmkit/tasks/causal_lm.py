"""Next-token prediction with GPT-2, on text packed into full blocks.

Documents are joined by the end-of-text token, which is learned like any other: a model that never sees it in the loss
never stops. Blocks overlap by one token, so that every token is a target once.
Legend: B batch, T tokens, D hidden units.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from llmkit.data.examples import Examples, Ragged
from llmkit.errors import UsageError
from llmkit.recipe.blocks import Recipe, ScratchModel
from llmkit.tasks.base import Batch, Engine
from llmkit.tasks.encoding import in_chunks
from llmkit.tasks.padding import attention_mask, padded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from llmkit.data.order import Indices
    from llmkit.data.rows import Row
    from llmkit.models.loaded import Head, LoadedModel


class CausalLMRecipe(Recipe):
    ROLES: ClassVar[dict[str, Literal["text", "label"]]] = {"text": "text"}
    FAMILIES: ClassVar[tuple[str, ...]] = ("gpt2",)

    task: Literal["causal-lm"]
    block_tokens: Annotated[int, Field(ge=8)] | None = None
    """Tokens of a block; without it, the model's window."""
    text_files: Literal["line", "file"] = "file"
    """What a document is in a plain text file: a line, or all of it."""

    @property
    def window_tokens(self) -> int | None:
        """Positions behind the block stay untrained where the weights were random, so the window ends there."""
        return self.block_tokens if isinstance(self.model, ScratchModel) else None


class CausalLMTask:
    HEAD: ClassVar[Head] = "causal-lm"
    METRICS: ClassVar[tuple[str, ...]] = ()
    BEST: ClassVar[str] = "loss"

    def __init__(self, recipe: CausalLMRecipe, loaded: LoadedModel) -> None:
        self.recipe = recipe
        self.loaded = loaded

    @staticmethod
    def labels(recipe: CausalLMRecipe, rows: Iterable[Row]) -> None:
        """A language model has no classes."""

    def encode(self, rows: Iterable[Row]) -> Examples:
        import numpy as np

        tokenizer = self.loaded.tokenizer
        stream: list[NDArray[np.int32]] = [np.asarray([tokenizer.eos_token_id], dtype=np.int32)]  # the first context
        utf8_bytes = 0
        for chunk in in_chunks(rows):
            texts = [row.fields["text"] for row in chunk]
            utf8_bytes += sum(len(text.encode()) for text in texts)
            encoded = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
            stream += [np.asarray([*ids, tokenizer.eos_token_id], dtype=np.int32) for ids in encoded]
        block_tokens = self.recipe.block_tokens or self.loaded.window
        if block_tokens > self.loaded.window:
            raise UsageError(
                f"block_tokens: {block_tokens:,}, but {self.loaded.name} reads {self.loaded.window:,} tokens at most."
            )
        blocks = pack_blocks(np.concatenate(stream), block_tokens=block_tokens)
        return Examples(columns={"input_ids": blocks}, utf8_bytes=utf8_bytes)

    def collate(self, examples: Examples, indices: Indices) -> Batch:
        from llmkit.models.losses import IGNORED

        blocks = examples.columns["input_ids"]
        inputs = padded(blocks, indices, value=self.loaded.tokenizer.pad_token_id)  # (B, T)
        mask = attention_mask(blocks, indices)  # (B, T)
        labels = inputs.masked_fill(mask == 0, IGNORED).roll(-1, dims=1)  # output t should be token t + 1
        labels[:, -1] = IGNORED
        return {"input_ids": inputs, "attention_mask": mask, "labels": labels}

    def loss_sum(self, batch: Batch) -> Tensor:
        from llmkit.models.losses import vocabulary_loss_sum

        model = self.loaded.model
        # A full mask is left out: the fused causal kernel is then used.
        mask = None if batch["attention_mask"].all() else batch["attention_mask"]
        body = model.transformer(input_ids=batch["input_ids"], attention_mask=mask, use_cache=False)
        hidden = body.last_hidden_state  # (B, T, D)
        return vocabulary_loss_sum(hidden, model.lm_head.weight, batch["labels"])

    def predict(self, examples: Examples, engine: Engine) -> list[str]:
        """Nothing: a language model is measured by its loss."""
        return []


def pack_blocks(stream: NDArray[np.int32], *, block_tokens: int) -> Ragged:
    """Cut (N,) ids into blocks that overlap by one; the last may be shorter. Every id but the first is a target once.

    One id alone is no block: it has nothing to predict.
    """
    import numpy as np

    starts = np.arange(0, len(stream) - 1, block_tokens - 1)
    return Ragged.of([stream[start : start + block_tokens] for start in starts])  # type: ignore[misc]  # arrays of ints
